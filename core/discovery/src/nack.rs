//! Refusals by a consumer, cut to what may leave the process.
//!
//! An Envoy's NACK text can be a debug dump of the whole secret with its private key, so the text
//! is reduced to a reason and at most 200 redacted characters where it arrives. What is kept is
//! chosen by an allow list, words of prose and upper-case error codes: a key that nobody thought
//! of does not look like either.

use std::fmt;

/// Most characters of a NACK text that are kept.
pub const MAX_TEXT_CHARS: usize = 200;

/// What an Envoy's text says, as one of the known messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NackReason {
    /// The chain does not parse or is in the wrong order.
    Chain,
    /// The private key does not parse.
    Key,
    /// Key and leaf do not match.
    KeyMismatch,
    /// The trust bundle does not parse.
    Bundle,
    /// A CRL does not parse.
    Crl,
    /// The message breaks a validation rule of Envoy's protos.
    Validation,
    /// Anything else.
    Other,
}

impl NackReason {
    /// The word used in metrics and on the wire.
    pub fn as_str(self) -> &'static str {
        let named = WORDS.iter().find(|(reason, _)| *reason == self);
        named.map_or("other", |(_, word)| word)
    }

    fn from_word(word: &str) -> Option<Self> {
        let named = WORDS.iter().find(|(_, known)| *known == word);
        named.map(|(reason, _)| *reason)
    }

    fn of(text: &str) -> Self {
        let known = MESSAGES.iter().find(|(part, _)| text.contains(part));
        known.map_or(Self::Other, |(_, reason)| *reason)
    }
}

/// A refusal as it may be logged, counted and sent upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// What it is about.
    pub reason: NackReason,
    /// At most [`MAX_TEXT_CHARS`] characters without anything that could be a key.
    pub text: String,
}

impl Nack {
    /// Cuts a consumer's text. The text of another [`Nack`], as [`Display`](fmt::Display) writes
    /// it, keeps its reason.
    pub fn redact(text: &str) -> Self {
        let head = head(text);
        let ours = head
            .split_once(": ")
            .and_then(|(word, rest)| Some((NackReason::from_word(word)?, rest)));
        let (reason, rest) = ours.unwrap_or_else(|| (NackReason::of(head), head));
        Self {
            reason,
            text: redacted(rest),
        }
    }

    /// A refusal of our own, its text cut in the same way.
    pub fn new(reason: NackReason, text: &str) -> Self {
        Self {
            reason,
            text: redacted(head(text)),
        }
    }
}

impl fmt::Display for Nack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.text)
    }
}

/// As much of a text as is looked at.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_LOOKED_AT_BYTES)]
}

/// The harmless words before anything that announces a secret, runs of other words as one mark.
fn redacted(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let end = MARKERS.iter().filter_map(|marker| lower.find(marker)).min();
    let mut kept = String::new();
    let mut marked = false;
    for word in text[..end.unwrap_or(text.len())].split_whitespace() {
        let harmless = is_prose(word) || is_code(word);
        let repeats_mark = marked && !harmless;
        if !repeats_mark && !push_word(&mut kept, if harmless { word } else { MARK }) {
            return kept;
        }
        marked = !harmless;
    }
    if end.is_some() && !marked {
        push_word(&mut kept, MARK);
    }
    kept
}

/// Adds a word if it fits; all kept words are ASCII, so bytes are characters.
fn push_word(kept: &mut String, word: &str) -> bool {
    let fits = kept.len() + 1 + word.len() <= MAX_TEXT_CHARS;
    if fits {
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
    }
    fits
}

/// A short word of lower-case letters, its first in either case, with usual punctuation.
fn is_prose(word: &str) -> bool {
    let core = word.trim_matches(PUNCTUATION);
    let mut letters = core.bytes();
    word.len() <= MAX_PROSE_BYTES
        && letters.next().is_some_and(|b| b.is_ascii_alphabetic())
        && letters.all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// An upper-case abbreviation or error code, such as `KEY_VALUES_MISMATCH`.
fn is_code(word: &str) -> bool {
    let core = word.trim_matches(PUNCTUATION);
    word.len() <= MAX_CODE_BYTES
        && !core.is_empty()
        && core.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

const MARK: &str = "[cut]";
const PUNCTUATION: &[char] = &['.', ',', ':', ';', '(', ')', '<', '>', '\'', '"', '|'];
/// Longest word that is kept as prose.
const MAX_PROSE_BYTES: usize = 16;
/// Longest word that is kept as an error code: one short of the 20 characters of a secret that
/// must never survive.
const MAX_CODE_BYTES: usize = 19;
/// As much of a text as is looked at: Envoy says what it is about in the first line.
const MAX_LOOKED_AT_BYTES: usize = 4_096;

/// What announces a secret, in lower case; nothing after it is kept.
const MARKERS: [&str; 5] = [
    "-----begin",
    "inline_bytes",
    "inline_string",
    "private_key",
    "tls_certificate",
];

/// Envoy's messages by a part that tells them, the most telling first.
const MESSAGES: [(&str, NackReason); 10] = [
    ("validation failed", NackReason::Validation),
    ("DataSource cannot be empty", NackReason::Validation),
    ("KEY_VALUES_MISMATCH", NackReason::KeyMismatch),
    ("trusted CA", NackReason::Bundle),
    ("CRL", NackReason::Crl),
    ("certificate chain", NackReason::Chain),
    ("incomplete certificate", NackReason::Chain),
    ("subject CN nor SAN", NackReason::Chain),
    ("private key", NackReason::Key),
    ("only RSA certificates", NackReason::Key),
];

const WORDS: [(NackReason, &str); 7] = [
    (NackReason::Chain, "chain"),
    (NackReason::Key, "key"),
    (NackReason::KeyMismatch, "key-mismatch"),
    (NackReason::Bundle, "bundle"),
    (NackReason::Crl, "crl"),
    (NackReason::Validation, "validation"),
    (NackReason::Other, "other"),
];

#[cfg(test)]
mod tests;
