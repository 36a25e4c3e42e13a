//! What a verb prints: a table or text for people, one JSON value for scripts.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use countersign_cli::{Failure, print};
use serde::Serialize;

/// Stdout, in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints `value` as JSON where that was asked for, otherwise the text that `human` makes.
    pub(super) fn show<T: Serialize>(
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
    pub(super) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(value).expect("our own shapes serialise");
        text.push(b'\n');
        self.bytes(&text)
    }

    /// Prints one of many values that come one by one: a line of JSON or of text. False once
    /// nobody reads them any more.
    pub(super) fn line<T: Serialize>(
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
    pub(super) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        print(bytes).map(drop)
    }

    /// Tells people on stderr how a long verb gets on; scripts get the final value alone.
    pub(super) fn progress(self, line: &str) {
        if !self.json {
            // A progress line that cannot be written changes nothing about the outcome.
            let _ = writeln!(io::stderr().lock(), "{}", printable(line));
        }
    }
}

/// `{"items":[…]}`, the shape of every list.
#[derive(Debug, Serialize)]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
}

/// A table with one line a row; `none` where there is no row.
pub(super) fn table<const N: usize>(
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
pub(super) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A cell: `-` for what is absent.
pub(super) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
