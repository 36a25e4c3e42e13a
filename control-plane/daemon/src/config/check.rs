//! `config check`: what the file says, defaults included, or every mistake in it.

use std::path::Path;

use countersign_cli::{Exit, Failure, print_text};

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
    print_text(&text)?;
    Ok(Exit::Yes)
}
