//! `config check`: what the file says, defaults included, or every mistake in it.

use std::io::{self, Write};
use std::path::Path;

use countersign_cli::{Exit, Failure};

use super::Config;

/// Reads the file and prints what would be used.
///
/// # Errors
/// Every mistake in the file.
pub fn check(file: &Path, json: bool) -> Result<Exit, Failure> {
    let config = Config::read(file)?;
    let text = if json {
        serde_json::to_string_pretty(&config).expect("our own shapes serialise")
    } else {
        format!("{} is valid", file.display())
    };
    // A reader that went away does not make the file wrong.
    let _ = writeln!(io::stdout().lock(), "{text}");
    Ok(Exit::Yes)
}
