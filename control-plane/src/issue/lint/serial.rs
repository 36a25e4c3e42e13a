//! The serial is the coordinate in the log: positive, 16 bytes (RFC 5280 section 4.1.2.2).

use countersign_model::Serial;
use x509_parser::certificate::TbsCertificate;

use super::{Candidate, Finding, require};

pub(super) fn check(tbs: &TbsCertificate<'_>, candidate: &Candidate<'_>) -> Result<(), Finding> {
    let serial = Serial::from_bytes(tbs.raw_serial());
    require(
        serial == Ok(candidate.serial),
        "serial",
        "the serial is not the reserved log coordinate",
        "RFC 5280 section 4.1.2.2",
    )
}
