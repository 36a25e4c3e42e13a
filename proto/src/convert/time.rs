//! Timestamps and durations of protobuf's well-known types.

use std::time::Duration;

use jiff::Timestamp;

use super::{ConvertError, Problem};

/// Writes a timestamp.
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    // Protobuf wants non-negative nanoseconds, jiff gives both parts the same sign.
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    let borrow = nanos < 0;
    prost_types::Timestamp {
        seconds: seconds - i64::from(borrow),
        nanos: if borrow { nanos + NANOS_PER_SEC } else { nanos },
    }
}

/// Reads a timestamp that must be there.
///
/// # Errors
/// Missing, or outside the years 1 to 9999.
pub fn read_timestamp(
    field: &'static str,
    at: Option<prost_types::Timestamp>,
) -> Result<Timestamp, ConvertError> {
    read_optional_timestamp(field, at)?.ok_or(Problem::Missing.of(field))
}

/// Reads a timestamp that may be absent.
///
/// # Errors
/// Outside the years 1 to 9999.
pub fn read_optional_timestamp(
    field: &'static str,
    at: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, ConvertError> {
    let Some(at) = at else {
        return Ok(None);
    };
    let in_bounds = (FIRST_SECOND..=LAST_SECOND).contains(&at.seconds)
        && (0..NANOS_PER_SEC).contains(&at.nanos);
    let read = in_bounds.then(|| Timestamp::new(at.seconds, at.nanos).ok());
    let refused = Problem::NotA("a timestamp of the years 1 to 9999");
    read.flatten().map(Some).ok_or(refused.of(field))
}

/// Writes a duration's whole seconds; more than protobuf allows is cut to that.
pub fn duration(length: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration {
        seconds: seconds.min(MAX_DURATION_SECS),
        nanos: 0,
    }
}

/// Reads a duration that must be there, positive and in whole seconds.
///
/// # Errors
/// Missing, zero, negative, with a fraction, or more than 10 000 years.
pub fn read_duration(
    field: &'static str,
    length: Option<prost_types::Duration>,
) -> Result<Duration, ConvertError> {
    let length = length.ok_or(Problem::Missing.of(field))?;
    let whole = length.nanos == 0 && (1..=MAX_DURATION_SECS).contains(&length.seconds);
    let seconds = u64::try_from(length.seconds).ok().filter(|_| whole);
    let refused = Problem::NotA("a positive duration in whole seconds");
    seconds.map(Duration::from_secs).ok_or(refused.of(field))
}

/// Reads a duration that may be absent, or zero, in whole seconds.
///
/// # Errors
/// Negative, with a fraction, or more than 10 000 years.
pub fn read_optional_duration(
    field: &'static str,
    length: Option<prost_types::Duration>,
) -> Result<Option<Duration>, ConvertError> {
    match length {
        None => Ok(None),
        Some(zero) if zero == prost_types::Duration::default() => Ok(Some(Duration::ZERO)),
        Some(length) => read_duration(field, Some(length)).map(Some),
    }
}

const NANOS_PER_SEC: i32 = 1_000_000_000;
/// 0001-01-01T00:00:00Z, the first second of `google.protobuf.Timestamp`.
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z, the last one; jiff ends a day earlier and is asked as well.
const LAST_SECOND: i64 = 253_402_300_799;
/// The bound of `google.protobuf.Duration`.
const MAX_DURATION_SECS: i64 = 315_576_000_000;
