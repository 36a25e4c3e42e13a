//! Moments as the command line takes them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// How long a date is in full: `2030-12-31`.
const DATE_CHARACTERS: usize = 10;

/// Parses RFC 3339, a date (its first moment in UTC) or whole Unix seconds.
///
/// # Errors
/// What could be written instead.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let parsed = match text.parse::<i64>() {
        Ok(secs) => Timestamp::from_second(secs).ok(),
        Err(_) if text.len() == DATE_CHARACTERS => midnight(text),
        Err(_) => text.parse().ok(),
    };
    parsed.ok_or_else(|| {
        "write a time such as 2030-12-31T23:59:59Z or 2030-12-31T23:59:59+01:00, a date such as \
         2030-12-31, or Unix seconds"
            .to_owned()
    })
}

/// As [`moment`], for an end that can be counted from now on as well.
///
/// # Errors
/// What could be written instead.
pub fn end(text: &str) -> Result<Timestamp, String> {
    moment(text).map_err(|error| format!("{error}; from now on, write --expires-in 24h"))
}

fn midnight(text: &str) -> Option<Timestamp> {
    let date: Date = text.parse().ok()?;
    let midnight = date.to_zoned(TimeZone::UTC).ok()?;
    Some(midnight.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_dates_and_seconds_are_read() {
        for (text, seconds) in [
            ("2030-12-31T23:59:59Z", 1_924_991_999),
            ("2030-12-31T23:59:59+01:00", 1_924_988_399),
            ("2030-12-31", 1_924_905_600),
            ("1924905600", 1_924_905_600),
            ("1234567890", 1_234_567_890),
        ] {
            let read = moment(text).map(Timestamp::as_second);
            assert_eq!(read, Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_gets_examples() {
        for text in [
            "",
            "tomorrow",
            "in 24h",
            "noon",
            "2030-02-30",
            "2030-1-1",
            "31.12.2030",
            "2030-12-31T23:59:59",
            "2030-12-31 23:59",
            "99999999999999",
        ] {
            let error = moment(text).unwrap_err();
            assert!(error.contains("such as 2030-12-31T23:59:59Z"), "{text}");
        }
    }
}
