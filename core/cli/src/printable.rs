//! Texts for people, of which a terminal obeys nothing.

use std::fmt;

/// A text that a terminal shows and does nothing else with, but for colours of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printable(String);

impl Printable {
    /// A text that was cleaned where it was made.
    pub(crate) fn trusted(text: String) -> Self {
        Self(text)
    }

    /// Those that say something, with this between them.
    pub fn join(parts: impl IntoIterator<Item = Self>, between: &str) -> Self {
        let parts = parts.into_iter().map(|part| part.0);
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        Self(parts.join(between))
    }

    /// Its lines, colours included.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }
}

impl From<String> for Printable {
    fn from(text: String) -> Self {
        Self(lines_of(&text))
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text of many lines: control characters but line feeds are escaped.
pub fn lines_of(text: &str) -> String {
    text.split('\n')
        .map(printable)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A text of one line: a terminal shall not obey what is printed, nor write it in another order than it
/// stands. Escaped, as Rust writes them, are control characters and those that turn the direction.
pub fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}
