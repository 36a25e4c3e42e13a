//! From a file to a TOML table, within a bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::Table;

use super::Mistake;

/// Largest configuration file.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads and parses a file.
pub(super) fn load(file: &Path) -> Result<Table, Mistake> {
    let bytes = read_bounded(file).map_err(|error| {
        whole(
            format!("cannot be read: {error}"),
            "name a file that this user may read",
        )
    })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(whole(
            format!("is larger than {MAX_FILE_BYTES} bytes"),
            "name a configuration file",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        whole(
            format!(
                "is not UTF-8 from byte {} on",
                error.utf8_error().valid_up_to()
            ),
            "save it as UTF-8",
        )
    })?;
    text.parse::<Table>().map_err(|e| syntax_mistake(&text, &e))
}

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn syntax_mistake(text: &str, error: &toml::de::Error) -> Mistake {
    let start = error.span().map_or(0, |span| span.start);
    let (line, column) = line_and_column(text, start);
    whole(
        format!("line {line}, column {column}: {}", error.message()),
        "write TOML (https://toml.io)",
    )
}

/// Both from 1; the column counts characters.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}

fn whole(problem: impl AsRef<str>, remedy: &str) -> Mistake {
    Mistake {
        key: String::new(),
        problem: crate::printable::printable(problem.as_ref()),
        remedy: remedy.to_owned(),
    }
}
