//! Registrations in a file, YAML or JSON: read strictly, with every mistake in one report, and written
//! so that they read back the same.
//!
//! A scalar is taken as it is written, and what it means is said by its field: `owner: no` is an owner
//! whose name is `no`. Anchors, aliases and tags are refused.

mod fields;
mod json;
mod map;
mod tree;
mod writing;
mod yaml;

use std::fmt;

use countersign_proto::admin::Registration;

pub use writing::{Json, yaml};

/// Longest file that is read: what fits into one call.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Most registrations of a file: what the control plane writes at once.
const MAX_REGISTRATIONS: usize = 10_000;
/// Most mistakes that are told at once.
pub const MAX_MISTAKES: usize = 100;

/// A registration of a file, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What is to be registered.
    pub registration: Registration,
    /// Where it begins.
    pub place: Place,
}

/// Where something is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1 on; `None` in JSON.
    pub line: Option<usize>,
    /// Such as `registrations[2].dns`.
    pub path: String,
}

/// What is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, &*self.path) {
            (Some(line), "") => write!(f, "line {line}"),
            (Some(line), path) => write!(f, "line {line}, {path}"),
            (None, "") => f.write_str("the file"),
            (None, path) => f.write_str(path),
        }
    }
}

/// Reads every registration of a file, in its order.
///
/// # Errors
/// Every mistake, at most [`MAX_MISTAKES`] of them.
pub fn read(text: &str) -> Result<Vec<Entry>, Vec<Mistake>> {
    let documents = parse(text).map_err(|mistake| vec![mistake])?;
    let mut mistakes = Vec::new();
    let entries = fields::registrations(&documents, &mut mistakes);
    if entries.len() > MAX_REGISTRATIONS {
        mistakes.push(Mistake {
            place: entries[MAX_REGISTRATIONS].place.clone(),
            problem: format!("there are {} registrations", entries.len()),
            remedy: format!("write at most {MAX_REGISTRATIONS} into a file"),
        });
    }
    mistakes.truncate(MAX_MISTAKES);
    match mistakes.is_empty() {
        true => Ok(entries),
        false => Err(mistakes),
    }
}

/// What begins as JSON and reads as JSON is JSON; everything else is YAML.
fn parse(text: &str) -> Result<Vec<tree::Node>, Mistake> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some('{' | '[') = text.trim_start().chars().next() else {
        return yaml::parse(text);
    };
    json::parse(text).or_else(|mistake| yaml::parse(text).map_err(|_| mistake))
}

#[cfg(test)]
mod tests;
