//! Serials, versions and key identifiers, shortened to what tells them apart.

use std::collections::BTreeSet;

use crate::table::Look;

/// No text is shortened to less than this.
const SHORTEST: usize = 8;

/// As many digits as tell the texts of one answer apart.
#[derive(Clone, Copy, Debug)]
pub struct Short(Option<usize>);

impl Short {
    /// Of these texts; in full with `--wide`.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>, look: Look) -> Self {
        if look.wide {
            return Self(None);
        }
        let texts: BTreeSet<&str> = texts.into_iter().collect();
        // Neighbours of a sorted list have the longest prefix in common.
        let pairs = texts.iter().zip(texts.iter().skip(1));
        let common = pairs.map(|(a, b)| common(a, b)).max();
        Self(Some(common.map_or(0, |common| common + 1).max(SHORTEST)))
    }

    /// One of them, with `…` for what is left out.
    pub fn short(self, text: &str) -> String {
        match self.0.and_then(|digits| text.get(..digits)) {
            // The sign takes the place of a digit.
            Some(prefix) if prefix.len() + 1 < text.len() => format!("{prefix}…"),
            _ => text.to_owned(),
        }
    }

    /// The same for a text that may be absent.
    pub fn cell(self, text: Option<&String>) -> String {
        text.map_or_else(|| "-".to_owned(), |text| self.short(text))
    }
}

fn common(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b);
    same.count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wide_shortens_nothing() {
        let look = Look {
            wide: true,
            ..Look::default()
        };
        let text = "0a1b2c00000000070011223344556677";
        assert_eq!(Short::of([text], look).short(text), text);
        let short = Short::of([text], Look::default());
        assert_eq!(short.short(text), "0a1b2c00…");
        assert_eq!(short.cell(None), "-");
        assert_eq!(short.short("0a1b2c00"), "0a1b2c00");
    }

    proptest! {
        #[test]
        fn what_differs_looks_different(
            texts in proptest::collection::btree_set("[01]{32}", 1..20),
        ) {
            let short = Short::of(texts.iter().map(String::as_str), Look::default());
            let shown: BTreeSet<_> = texts.iter().map(|text| short.short(text)).collect();
            prop_assert_eq!(shown.len(), texts.len());
            for text in &texts {
                let shown = short.short(text);
                prop_assert!(text.starts_with(shown.trim_end_matches('…')));
            }
        }
    }
}
