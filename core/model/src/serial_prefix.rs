//! The beginning of a serial, as tables show it.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::Serial;
use super::serial::SERIAL_BYTES;

/// Digits of a whole serial.
const WHOLE: usize = 2 * SERIAL_BYTES;
/// No serial is shown shorter.
const SHORTEST: usize = 8;
/// Where the index begins and ends, in digits.
const INDEX: std::ops::Range<usize> = 6..16;

/// A text that begins no serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a serial or how it begins: {SHORTEST} to {WHOLE} hex digits, such as 0a1b2c0000000007"
)]
pub struct SerialPrefixError;

/// How a serial begins, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialPrefix(String);

impl SerialPrefix {
    /// Whether a serial begins so.
    pub fn begins(&self, serial: &Serial) -> bool {
        serial.to_string().starts_with(&self.0)
    }

    /// The id of the log that it names.
    pub fn log_id(&self) -> u32 {
        // Six digits of hex always fit.
        u32::from_str_radix(&self.0[..INDEX.start], 16).unwrap_or(u32::MAX)
    }

    /// The indexes of the entries that may be meant.
    pub fn indexes(&self) -> RangeInclusive<u64> {
        let with = |digit: &str| {
            let missing = INDEX.end.saturating_sub(self.0.len());
            let digits = self.0.clone() + &digit.repeat(missing);
            // Ten digits of hex always fit.
            u64::from_str_radix(&digits[INDEX], 16).unwrap_or(u64::MAX)
        };
        with("0")..=with("f")
    }
}

impl From<Serial> for SerialPrefix {
    /// All of it.
    fn from(serial: Serial) -> Self {
        Self(serial.to_string())
    }
}

impl FromStr for SerialPrefix {
    type Err = SerialPrefixError;

    /// The sign with which tables shorten may stand behind it.
    fn from_str(text: &str) -> Result<Self, SerialPrefixError> {
        let digits = text.trim_end_matches('…').to_ascii_lowercase();
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && (SHORTEST..=WHOLE).contains(&digits.len()) {
            Ok(Self(digits))
        } else {
            Err(SerialPrefixError)
        }
    }
}

impl fmt::Display for SerialPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_narrows_the_index_down() {
        let serial = Serial::new(0x0a_1b2c, 0x0102, [9; 8]).unwrap();
        let whole = serial.to_string();
        for (digits, first, last) in [
            (32, 0x102, 0x102),
            (16, 0x102, 0x102),
            (15, 0x100, 0x10f),
            (8, 0, 0xffff_ffff),
        ] {
            let prefix: SerialPrefix = whole[..digits].parse().unwrap();
            assert!(prefix.begins(&serial), "{digits}");
            assert_eq!(prefix.indexes(), first..=last, "{digits}");
        }
        let shown: SerialPrefix = "0A1B2C0000000102…".parse().unwrap();
        assert!(shown.begins(&serial));
        let other: SerialPrefix = "0a1b2c0000000103".parse().unwrap();
        assert!(!other.begins(&serial));
    }

    #[test]
    fn what_begins_no_serial_is_refused() {
        for text in ["", "0a1b2c0", "nonsense0", "…", &"0".repeat(33)] {
            assert_eq!(
                text.parse::<SerialPrefix>(),
                Err(SerialPrefixError),
                "{text}"
            );
        }
    }
}
