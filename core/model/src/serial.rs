//! Certificate serials that carry the coordinate of their entry in the issuance log.
//!
//! 16 bytes: log id (24 bits) ‖ index (40 bits) ‖ random (64 bits). The top bit of the log id is
//! zero, so the DER INTEGER (RFC 5280 section 4.1.2.2) is positive and keeps its 16 bytes.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Length of a serial in bytes.
pub const SERIAL_BYTES: usize = 16;
const MAX_LOG_ID: u32 = (1 << 23) - 1;
const MIN_LOG_ID: u32 = 1 << 16;
const INDEX_BITS: u32 = 40;
const MAX_INDEX: u64 = (1 << INDEX_BITS) - 1;

/// A coordinate or text that is no serial of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a serial of an issuance log: 32 hex digits, log id from 010000 to 7fffff")]
pub struct SerialError;

/// The serial of a certificate that we issued.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial([u8; SERIAL_BYTES]);

impl Serial {
    /// Builds the serial of one log entry. `log_id` is in `0x010000..=0x7fffff` so that the
    /// integer always has 16 bytes; `index` is below 2^40.
    ///
    /// # Errors
    /// A part that does not fit its field.
    pub fn new(log_id: u32, index: u64, random: [u8; 8]) -> Result<Self, SerialError> {
        if !(MIN_LOG_ID..=MAX_LOG_ID).contains(&log_id) || index > MAX_INDEX {
            return Err(SerialError);
        }
        let mut bytes = [0; SERIAL_BYTES];
        bytes[..3].copy_from_slice(&log_id.to_be_bytes()[1..]);
        bytes[3..8].copy_from_slice(&index.to_be_bytes()[3..]);
        bytes[8..].copy_from_slice(&random);
        Ok(Self(bytes))
    }

    /// A log id drawn from 32 random bits.
    pub fn log_id_from(random: u32) -> u32 {
        MIN_LOG_ID + random % (MAX_LOG_ID - MIN_LOG_ID + 1)
    }

    /// Reads the big-endian magnitude of a certificate's serial.
    ///
    /// # Errors
    /// Not 16 bytes, or not a log id of ours.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SerialError> {
        let serial = Self(bytes.try_into().map_err(|_| SerialError)?);
        let known = (MIN_LOG_ID..=MAX_LOG_ID).contains(&serial.log_id());
        if known { Ok(serial) } else { Err(SerialError) }
    }

    /// The 16 bytes, big-endian.
    pub fn as_bytes(&self) -> &[u8; SERIAL_BYTES] {
        &self.0
    }

    /// Which log holds the entry.
    pub fn log_id(&self) -> u32 {
        u32::from_be_bytes([0, self.0[0], self.0[1], self.0[2]])
    }

    /// The entry's index in that log.
    pub fn index(&self) -> u64 {
        let b = &self.0;
        u64::from_be_bytes([0, 0, 0, b[3], b[4], b[5], b[6], b[7]])
    }

    /// The entry: its log and its index there.
    pub fn coordinate(&self) -> Coordinate {
        let packed = u64::from(self.log_id()) << INDEX_BITS | self.index();
        Coordinate(NonZeroU64::new(packed).expect("no log has the id zero"))
    }

    /// A number in `0.0..1.0` from its random half: the same wherever the serial is known.
    pub fn draw(&self) -> f64 {
        let b = &self.0;
        let random = u32::from_be_bytes([b[8], b[9], b[10], b[11]]);
        f64::from(random) / (f64::from(u32::MAX) + 1.0)
    }
}

/// One entry of one issuance log: the first half of a serial. Those of one log sort by index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinate(NonZeroU64);

impl Coordinate {
    /// The entry of a log at an index.
    ///
    /// # Errors
    /// A part that no serial has.
    pub fn new(log_id: u32, index: u64) -> Result<Self, SerialError> {
        Ok(Serial::new(log_id, index, [0; 8])?.coordinate())
    }

    /// Which log holds the entry.
    pub fn log_id(self) -> u32 {
        u32::try_from(self.0.get() >> INDEX_BITS).expect("a log id has 24 bits")
    }

    /// The entry's index in that log.
    pub fn index(self) -> u64 {
        self.0.get() & MAX_INDEX
    }
}

impl fmt::Debug for Coordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}/{}", self.log_id(), self.index())
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Serial {
    type Err = SerialError;
    fn from_str(text: &str) -> Result<Self, SerialError> {
        Self::from_bytes(&hex::decode(text).map_err(|_| SerialError)?)
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinate_survives_the_serial() {
        let serial = Serial::new(0x7f_0203, 0xff_0000_0001, [9; 8]).unwrap();
        assert_eq!(
            (serial.log_id(), serial.index()),
            (0x7f_0203, 0xff_0000_0001)
        );
        assert_eq!(serial.to_string().parse(), Ok(serial));
        let coordinate = Coordinate::new(0x7f_0203, 0xff_0000_0001).unwrap();
        assert_eq!(serial.coordinate(), coordinate);
        assert_eq!(
            (coordinate.log_id(), coordinate.index()),
            (serial.log_id(), serial.index())
        );
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        assert_eq!(Serial::new(0x80_0000, 0, [0; 8]), Err(SerialError));
        assert_eq!(Serial::new(0x00_ffff, 0, [0; 8]), Err(SerialError));
        assert_eq!(Serial::new(0x01_0000, 1 << 40, [0; 8]), Err(SerialError));
        assert_eq!(Serial::from_bytes(&[0x7f; 15]), Err(SerialError));
        for random in [0, 1, u32::MAX] {
            assert!(Serial::new(Serial::log_id_from(random), 0, [0; 8]).is_ok());
        }
    }
}
