//! `config check --effective`: every key with its value and where that came from.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::Setting;
use super::setting::{TABLES, bare};
use crate::printable::printable;
use crate::{Exit, Failure, print_text};

/// The file that was named with `--config`, or the default.
///
/// # Errors
/// None was named, and there is no file where the default is.
pub fn file_or_default(named: Option<PathBuf>, default: &str) -> Result<PathBuf, Failure> {
    let is_missing = || !Path::new(default).exists();
    match named {
        Some(file) => Ok(file),
        None if is_missing() => Err(Failure::new(
            Exit::Usage,
            "configuration",
            format!("there is no {default}, which is read where --config names no other file"),
            "write that file, or name yours with --config FILE",
        )),
        None => Ok(default.into()),
    }
}

/// Prints the settings of a file that was read without a mistake.
///
/// # Errors
/// As [`crate::print()`].
pub fn check(file: &Path, settings: &[Setting], json: bool) -> Result<Exit, Failure> {
    let text = match json {
        true => as_json(file, settings),
        false => as_text(settings),
    };
    print_text(&text)?;
    Ok(Exit::Yes)
}

/// `{"valid":true,"file":…,"keys":[…]}`.
fn as_json(file: &Path, settings: &[Setting]) -> String {
    let keys: Vec<_> = settings.iter().map(Setting::to_json).collect();
    let shape = json!({ "valid": true, "file": file.display().to_string(), "keys": keys });
    format!("{shape:#}")
}

/// A line for each key, and one more for each further entry of a list. The value is last: where it
/// is long the terminal folds it, and the columns before it stay.
fn as_text(settings: &[Setting]) -> String {
    let widest = settings.iter().map(|it| it.key.chars().count()).max();
    let widest = widest.unwrap_or_default().max("KEY".len());
    let mut lines = vec![format!("{:widest$}  FROM     VALUE", "KEY")];
    for setting in settings {
        let (key, origin) = (printable(&setting.key), setting.origin.as_str());
        let (mut key, mut origin) = (key.as_str(), origin);
        for value in values(setting) {
            let line = format!("{key:widest$}  {origin:7}  {}", printable(&value));
            lines.push(line.trim_end().to_owned());
            (key, origin) = ("", "");
        }
    }
    lines.join("\n")
}

/// At least one line.
fn values(setting: &Setting) -> Vec<String> {
    match &setting.value {
        None => vec!["-".to_owned()],
        Some(Json::Array(items)) if items.is_empty() => vec!["(none)".to_owned()],
        Some(Json::Array(items)) => items.iter().map(bare).collect(),
        // How many tables there are; none is written as an empty list is.
        Some(value) if setting.kind == TABLES && *value == 0 => vec!["(none)".to_owned()],
        Some(value) => vec![bare(value)],
    }
}

#[cfg(test)]
mod tests;
