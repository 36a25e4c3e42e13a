//! Durations as people write them: `90s`, `10m`, `1h30m`, `3650d`.
//!
//! A bare number is refused: `ttl = 10` has cost others an outage. Units are `d`, `h`, `m`, `s`
//! and `ms`, larger before smaller, each at most once.

use std::time::Duration;

/// Units from large to small, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("a duration is missing")]
    Empty,
    /// Something other than a digit where a number has to stand.
    #[error("a duration is a number and a unit")]
    NoNumber,
    /// A number without a unit.
    #[error("the unit is missing: d, h, m, s or ms, as in 10m")]
    NoUnit,
    /// A unit that is not one of `d`, `h`, `m`, `s`, `ms`.
    #[error("the unit is none of d, h, m, s, ms")]
    UnknownUnit,
    /// A unit twice, or a larger one after a smaller one.
    #[error("units go from large to small, each once")]
    UnitOrder,
    /// More than fits.
    #[error("the duration is too long")]
    TooLong,
}

/// Parses an argument of a command line: `#[arg(value_parser = duration::argument)]`.
///
/// # Errors
/// What is wrong, and what could be written instead.
pub fn argument(text: &str) -> Result<Duration, String> {
    parse(text).map_err(|error| {
        format!("{error}; write numbers with units, such as 90s, 10m, 1h30m or 30d")
    })
}

/// Parses a duration.
///
/// # Errors
/// See [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut units = &UNITS[..];
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let (unit, after) = split_unit(after);
        let position = position_of(unit, units)?;
        millis = number
            .checked_mul(units[position].1)
            .and_then(|m| millis.checked_add(m))
            .ok_or(DurationError::TooLong)?;
        units = &units[position + 1..];
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration so that [`parse`] reads it; what is below a millisecond is dropped.
pub fn format(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, length) in UNITS {
        if millis >= length {
            text.push_str(&format!("{}{unit}", millis / length));
            millis %= length;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

fn split_number(text: &str) -> Result<(u64, &str), DurationError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(DurationError::NoNumber);
    }
    let number = digits.parse().map_err(|_| DurationError::TooLong)?;
    Ok((number, rest))
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Where a unit stands among those that may still follow.
fn position_of(unit: &str, units: &[(&str, u64)]) -> Result<usize, DurationError> {
    if unit.is_empty() {
        return Err(DurationError::NoUnit);
    }
    if let Some(position) = units.iter().position(|(name, _)| *name == unit) {
        return Ok(position);
    }
    let known = UNITS.iter().any(|(name, _)| *name == unit);
    Err(if known {
        DurationError::UnitOrder
    } else {
        DurationError::UnknownUnit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn common_durations_are_read() {
        for (text, seconds) in [
            ("90s", 90),
            ("10m", 600),
            ("1h", 3_600),
            ("1h30m", 5_400),
            ("3650d", 3650 * 86_400),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("1s250ms"), Ok(Duration::from_millis(1_250)));
    }

    #[test]
    fn sloppy_durations_are_refused() {
        use DurationError::*;
        for (text, error) in [
            ("", Empty),
            ("10", NoUnit),
            ("1h30", NoUnit),
            ("s", NoNumber),
            ("-1s", NoNumber),
            (" 1s", NoNumber),
            ("1 s", UnknownUnit),
            ("1s ", UnknownUnit),
            ("1w", UnknownUnit),
            ("1S", UnknownUnit),
            ("1.5h", UnknownUnit),
            ("5m1h", UnitOrder),
            ("1s1s", UnitOrder),
            ("99999999999999999999s", TooLong),
            ("18446744073709551615d", TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn written_durations_read_back(millis in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_judged(text in ".{0,40}") {
            if let Ok(duration) = parse(&text) {
                prop_assert_eq!(parse(&format(duration)), Ok(duration));
            }
        }
    }
}
