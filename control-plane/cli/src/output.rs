//! What a verb prints: a table or text for people, one JSON value for scripts.

use std::io::{self, Write};

pub(crate) use countersign_cli::printable::Printable;
use countersign_cli::printable::lines_of;
use countersign_cli::{Failure, print};
use serde::Serialize;

/// Stdout, in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints `value` as JSON where that was asked for, otherwise the text that `human` makes.
    pub(crate) fn show<T: Serialize, P: Into<Printable>>(
        self,
        value: &T,
        human: impl FnOnce(&T) -> P,
    ) -> Result<(), Failure> {
        if self.json {
            self.json(value)
        } else {
            let text: Printable = human(value).into();
            self.bytes(format!("{text}\n").as_bytes())
        }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints one JSON value.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(value).expect("our own shapes serialise");
        text.push(b'\n');
        self.bytes(&text)
    }

    /// Prints one of many values that come one by one: a line of JSON or of text. False once
    /// nobody reads them any more.
    pub(crate) fn line<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> Result<bool, Failure> {
        let text = if self.json {
            serde_json::to_string(value).expect("our own shapes serialise")
        } else {
            lines_of(&human(value))
        };
        print(format!("{text}\n").as_bytes())
    }

    /// Prints bytes as they are. A reader that went away is no error.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        print(bytes).map(drop)
    }

    /// Tells people on stderr how a long verb gets on; scripts get the final value alone.
    pub(crate) fn progress(self, text: impl Into<Printable>) {
        if !self.json {
            // A progress line that cannot be written changes nothing about the outcome.
            let _ = writeln!(io::stderr().lock(), "{}", text.into());
        }
    }
}

/// `{"items":[…]}`, the shape of every list.
#[derive(Debug, Serialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
}

/// A text as one word of a shell, whatever is in it: in quotes where it needs them.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._:@+,-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text of the wire, where empty is absent.
pub(crate) fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A number of things, in words.
pub(crate) fn count(n: u64, what: &str) -> String {
    many(n, what, &format!("{what}s"))
}

/// The same for what has another plural.
pub(crate) fn many(n: u64, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}

/// A cell: `-` for what is absent.
pub(crate) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
