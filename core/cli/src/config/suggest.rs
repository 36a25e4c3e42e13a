//! What a misspelt key was probably meant to be.

/// The key among `known` that `written` most resembles, if any is close: at most two slips, or
/// the right name in the wrong section.
pub fn closest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .filter_map(|key| Some((likeness(written, key)?, key)))
        .min()
        .map(|(_, key)| key)
}

/// How far a key is from what was written; `None` where they have nothing to do with each other.
fn likeness(written: &str, key: &str) -> Option<usize> {
    if let Some(slips) = slips(written, key) {
        return Some(slips);
    }
    let slips = slips(last_segment(written), last_segment(key))?;
    Some(WRONG_SECTION + slips)
}

/// What a wrong section weighs: more than any number of slips in the right one.
const WRONG_SECTION: usize = 3;

fn last_segment(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, last)| last)
}

/// At most two, and no more than half of what was written.
fn slips(written: &str, key: &str) -> Option<usize> {
    let slips = distance(written, key);
    let short = written.len().min(key.len());
    (slips <= 2 && slips * 2 <= short).then_some(slips)
}

/// Levenshtein's distance, two rows at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["api.listen", "svid.x509_ttl", "data_dir", "ca"];

    #[test]
    fn slips_are_recognised() {
        for (written, meant) in [
            ("api.lisen", Some("api.listen")),
            ("lisen", Some("api.listen")),
            ("data-dir", Some("data_dir")),
            ("x509_ttl", Some("svid.x509_ttl")),
            ("ca.x509_ttl", Some("svid.x509_ttl")),
            ("zz", None),
            ("colour", None),
        ] {
            assert_eq!(closest(written, KNOWN.into_iter()), meant, "{written}");
        }
    }

    #[test]
    fn distance_counts_slips() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
