//! What a verb prints: a table or text for people, one JSON value for scripts.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
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
    pub(crate) fn show<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            self.json(value)
        } else {
            self.bytes(format!("{}\n", printable(&human(value))).as_bytes())
        }
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
            printable(&human(value))
        };
        print(format!("{text}\n").as_bytes())
    }

    /// Prints bytes as they are. A reader that went away is no error.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        print(bytes).map(drop)
    }

    /// Tells people on stderr how a long verb gets on; scripts get the final value alone.
    pub(crate) fn progress(self, line: &str) {
        if !self.json {
            // A progress line that cannot be written changes nothing about the outcome.
            let _ = writeln!(io::stderr().lock(), "{}", printable(line));
        }
    }
}

/// `{"items":[…]}`, the shape of every list.
#[derive(Debug, Serialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
}

/// A table with one line a row; `none` where there is no row.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    none: &str,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    let mut empty = true;
    for row in rows {
        empty = false;
        table.add_row(row);
    }
    if empty {
        return none.to_owned();
    }
    table.trim_fmt()
}

/// Control characters but line feeds are escaped: a terminal shall not obey what a node reported.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

/// A text as one word of a shell, whatever is in it.
pub(crate) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A cell: `-` for what is absent.
pub(crate) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
