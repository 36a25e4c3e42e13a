//! SQL as a person at a terminal sends it: by `psql`, so that no client library is tested by itself.

use std::io::{Seek as _, Write as _};
use std::process::{Command, Output, Stdio};

use crate::installed::{INSTALLED, without_ways};
use crate::wait::BOUND;

/// What a statement gives: rows of columns, as text. NULL is empty.
pub type Rows = Vec<Vec<String>>;

/// Separates columns.
const COLUMN: char = '\u{1f}';
/// Ends a row; asked for by `--record-separator-zero`.
const ROW: char = '\0';

/// Runs statements, each in a transaction of its own where they begin none, until one fails.
///
/// # Errors
/// What the server, or the way to it, says.
pub(crate) fn run(url: &str, text: &str) -> Result<Rows, String> {
    let mut command = Command::new("timeout");
    without_ways(&mut command).arg(BOUND.as_secs().to_string());
    command.arg(INSTALLED.program("psql"));
    command.args([
        "--no-psqlrc",
        "--no-password",
        "--quiet",
        "--tuples-only",
        "--no-align",
    ]);
    command.args(["--set=ON_ERROR_STOP=1", "--record-separator-zero"]);
    command.arg(format!("--field-separator={COLUMN}"));
    command.arg(format!("--dbname={url}"));
    let output = output(&mut command, text);
    if output.status.success() {
        return Ok(rows(&String::from_utf8_lossy(&output.stdout)));
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} {}", output.status, told.trim()))
}

/// Runs a program that reads its input from a file, which is never too full to be written.
pub(crate) fn output(command: &mut Command, input: &str) -> Output {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    file.rewind().unwrap();
    let command = command.stdin(Stdio::from(file)).env("LC_ALL", "C");
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?} is not run: {error}"))
}

fn rows(text: &str) -> Rows {
    let rows = text.split_terminator(ROW);
    let columns = |row: &str| row.split(COLUMN).map(str::to_owned).collect();
    rows.map(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_ends_of_line_and_nothing() {
        let read = rows("1\u{1f}two\nlines\0\u{1f}\0");
        assert_eq!(read, [["1", "two\nlines"], ["", ""]]);
        assert!(rows("").is_empty());
    }
}
