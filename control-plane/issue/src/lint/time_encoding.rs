//! Times are UTCTime through 2049 and GeneralizedTime from then on, in whole seconds and Zulu
//! (RFC 5280 section 4.1.2.5).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "time_encoding",
    section: "RFC 5280 section 4.1.2.5",
    problem: "a time has another encoding than its year asks for",
    of: Of::All,
    holds,
};

/// The tag and the bytes of YYMMDDHHMMSSZ.
const UTC: [u8; 2] = [0x17, 13];
/// The tag and the bytes of YYYYMMDDHHMMSSZ.
const GENERALIZED: [u8; 2] = [0x18, 15];
/// The beginning of 2050.
const YEAR_2050: i64 = 2_524_608_000;

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    let validity = reading.tbs.validity();
    let times = [&validity.not_before, &validity.not_after];
    times
        .into_iter()
        .zip(reading.fields.validity)
        .all(|(time, bytes)| {
            let is_late = time.timestamp() >= YEAR_2050;
            let wanted = if is_late { GENERALIZED } else { UTC };
            bytes.starts_with(&wanted) && bytes.ends_with(b"Z")
        })
}
