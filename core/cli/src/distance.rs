//! Times as people read them: to the second, and how far away they are from a `now` that is passed in.

use jiff::Timestamp;

/// Seconds up to which a distance is told in seconds, minutes up to which in minutes, and so on: two
/// units long, so that 90 s are not "1 min".
const SECONDS: u64 = 120;
const MINUTES: u64 = 120 * 60;
const HOURS: u64 = 48 * 3_600;

/// A time to the second, RFC 3339.
pub fn to_the_second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How long something lasts or lasted, in one unit, rounded down.
pub fn length(secs: u64) -> String {
    match secs {
        0..SECONDS => format!("{secs} s"),
        SECONDS..MINUTES => format!("{} min", secs / 60),
        MINUTES..HOURS => format!("{} h", secs / 3_600),
        _ => format!("{} d", secs / 86_400),
    }
}

/// From one time to a later one; zero where they are reversed.
pub fn between(from: Timestamp, to: Timestamp) -> String {
    let secs = to.duration_since(from).as_secs();
    length(u64::try_from(secs).unwrap_or(0))
}

/// When something was or will be: "3 min ago", "in 42 min".
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    if at <= now {
        format!("{} ago", between(at, now))
    } else {
        format!("in {}", between(now, at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn distances_are_told_in_one_unit() {
        let now = at(1_000_000);
        for (second, expected) in [
            (1_000_000, "0 s ago"),
            (999_881, "119 s ago"),
            (999_880, "2 min ago"),
            (1_002_520, "in 42 min"),
            (1_007_200, "in 2 h"),
            (1_172_799, "in 47 h"),
            (827_200, "2 d ago"),
        ] {
            assert_eq!(relative(at(second), now), expected, "{second}");
        }
        assert_eq!(to_the_second(at(1_000_000)), "1970-01-12T13:46:40Z");
    }

    proptest! {
        /// What is told is never later than what is so, nor more than one unit before.
        #[test]
        fn a_length_is_rounded_down(secs in 0u64..100_000_000) {
            let told = length(secs);
            let (number, unit) = told.split_once(' ').unwrap();
            let unit = match unit { "s" => 1, "min" => 60, "h" => 3_600, _ => 86_400 };
            let told = number.parse::<u64>().unwrap() * unit;
            prop_assert!(told <= secs && secs < told + unit);
        }
    }
}
