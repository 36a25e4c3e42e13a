//! The serial is the reserved coordinate in the log: positive, 16 bytes of at most 20, minimal
//! (RFC 5280 section 4.1.2.2; X.690 section 8.3.2).

use countersign_model::serial::SERIAL_BYTES;

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "serial",
    section: "RFC 5280 section 4.1.2.2",
    problem: "the serial is not the reserved log coordinate",
    of: Of::All,
    holds,
};

const INTEGER: u8 = 0x02;

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    // A log id begins with 01 to 7f: positive and minimal without a leading zero.
    let bytes = candidate.serial.as_bytes();
    let length = u8::try_from(SERIAL_BYTES).unwrap_or(u8::MAX);
    let is_minimal = (0x01..0x80).contains(&bytes[0]);
    is_minimal
        && reading
            .fields
            .serial
            .strip_prefix(&[INTEGER, length])
            .is_some_and(|serial| serial == bytes)
}
