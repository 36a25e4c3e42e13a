//! Whether a command printed what its page shows.
//!
//! Two runs never print the same serial, time or port. So what differs from run to run is masked on both
//! sides, and a page may leave out lines, or a part of a line behind `…`.

/// Letters from which on hexadecimal digits may be a serial that has no decimal one.
const SERIAL: usize = 6;

/// The first line of a page that was not printed, in the order of the page.
pub(super) fn missing<'a>(shown: &'a [String], printed: &str) -> Option<&'a str> {
    let mut printed = printed.lines().map(masked);
    shown
        .iter()
        .map(String::as_str)
        .filter(|line| !line.trim().is_empty() && line.trim() != "…")
        .find(|line| {
            let wanted = masked(line);
            !printed.any(|line| is_like(&wanted, &line))
        })
}

/// Whether a line is what was shown, where `…` is anything.
fn is_like(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut is_open = false;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        is_open = part.is_empty();
    }
    rest.is_empty() || is_open
}

/// A line in which every number, serial and time looks the same, and every space is one.
fn masked(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let mut masked = String::with_capacity(word.len());
        for part in word.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let body = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let is_hex = body.len() >= SERIAL && body.chars().all(|c| c.is_ascii_hexdigit());
            let is_varying = is_hex || body.chars().any(|c| c.is_ascii_digit());
            masked.push_str(if is_varying { "#" } else { body });
            masked.push_str(&part[body.len()..]);
        }
        // Seconds with a fraction or without, a version of two parts or three.
        while masked.contains("#.#") {
            masked = masked.replace("#.#", "#");
        }
        masked
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn numbers_serials_and_times_may_differ() {
        let page = shown(&["serial 3af7c0, until 2026-01-01T00:00:00.12Z,   at 127.0.0.1:8443"]);
        let printed = "serial ff01, until 2027-11-30T10:01:02Z, at 127.0.0.1:9\n";
        assert_eq!(missing(&page, printed), None);
    }

    #[test]
    fn word_that_differs_is_missing() {
        let page = shown(&["registered spiffe://example.org/web"]);
        assert_eq!(
            missing(&page, "registered spiffe://example.org/client"),
            Some(page[0].as_str())
        );
        assert_eq!(missing(&page, ""), Some(page[0].as_str()));
        assert_eq!(
            missing(&page, "registered spiffe://example.org/web2"),
            Some(page[0].as_str())
        );
    }

    #[test]
    fn lines_come_in_the_order_of_the_page() {
        let page = shown(&["first", "…", "", "second"]);
        assert_eq!(missing(&page, "zero\nfirst\nbetween\nsecond\n"), None);
        assert_eq!(missing(&page, "second\nfirst\n"), Some("second"));
    }

    #[test]
    fn ellipsis_is_anything() {
        let page = shown(&["a … c", "d …"]);
        assert_eq!(missing(&page, "a b b c\nd e"), None);
        assert_eq!(missing(&page, "a b c d\nd e"), Some("a … c"));
        assert_eq!(missing(&page, "b b c\nd e"), Some("a … c"));
    }
}
