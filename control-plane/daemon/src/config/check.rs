//! `config check`: what the file says, defaults included, or every mistake in it.

use std::path::Path;

use countersign_cli::{Exit, Failure, config, print_text};

use super::Config;

/// Reads the file and prints that it is valid; if `effective`, each key with its value.
///
/// # Errors
/// Every mistake in the file.
pub fn check(file: &Path, effective: bool, json: bool) -> Result<Exit, Failure> {
    let (config, settings) = Config::read_with_settings(file)?;
    if effective {
        return config::check(file, &settings, json);
    }
    let text = if json {
        serde_json::to_string_pretty(&config).expect("our own shapes serialise")
    } else {
        format!("{} is valid", file.display())
    };
    print_text(&text)?;
    Ok(Exit::Yes)
}
