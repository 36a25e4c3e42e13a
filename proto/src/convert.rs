//! Conversions between wire types and the types of `core/`.
//!
//! What comes in is checked here, once: bounds before anything is built, every refusal with the
//! field that caused it, the text of a NACK cut before anybody can log it. Conversions that cannot
//! fail are `From`, the others `TryFrom`.

pub mod addresses;
pub mod discovery;
pub mod enrol;
pub mod entitlement;
pub mod time;

#[cfg(test)]
mod tests;

use countersign_model::{IdRule, SelectorError, Serial};

/// A message that does not say what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {problem}")]
pub struct ConvertError {
    /// The field, as its proto names it.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It must be set.
    #[error("missing")]
    Missing,
    /// More bytes or items than it may have.
    #[error("longer than {limit}")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// Not a value of its kind.
    #[error("not {0}")]
    NotA(&'static str),
    /// A SPIFFE ID that breaks a rule.
    #[error("SPIFFE ID breaks rule {}", .0.code())]
    SpiffeId(IdRule),
    /// A selector that cannot be used.
    #[error(transparent)]
    Selector(SelectorError),
}

impl Problem {
    fn of(self, field: &'static str) -> ConvertError {
        ConvertError {
            field,
            problem: self,
        }
    }
}

/// Reads the 16 bytes of a serial.
///
/// # Errors
/// Other bytes than a serial of ours.
pub fn serial(field: &'static str, bytes: &[u8]) -> Result<Serial, ConvertError> {
    Serial::from_bytes(bytes).map_err(|_| Problem::NotA("a serial of ours").of(field))
}

/// Writes a serial as its 16 bytes.
pub fn serial_bytes(serial: &Serial) -> Vec<u8> {
    serial.as_bytes().to_vec()
}
