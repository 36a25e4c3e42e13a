//! Registrations as they are written into a file: sorted, without what the control plane sets by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use countersign_cli::duration;
use countersign_proto::admin::Registration;
use countersign_proto::convert::time::read_optional_timestamp;
use serde::Serialize;

/// A file as JSON.
#[derive(Debug, Serialize)]
pub struct Json {
    version: u32,
    registrations: Vec<Written>,
}

/// One registration, as it is written: what says nothing is left out.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Written {
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    node: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    by_hand: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    selectors: Vec<String>,
    owner: String,
    criticality: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x509_ttl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl Json {
    /// Sorted by ID, node and selectors.
    pub fn of(registrations: Vec<Registration>) -> Self {
        let mut registrations: Vec<_> = registrations.into_iter().map(Written::from).collect();
        registrations.sort();
        Self {
            version: 1,
            registrations,
        }
    }
}

impl From<Registration> for Written {
    fn from(wire: Registration) -> Self {
        let end = read_optional_timestamp("expires_at", wire.expires_at);
        let end = end.ok().flatten();
        let ttl = wire.x509_ttl.and_then(|ttl| Duration::try_from(ttl).ok());
        Self {
            id: wire.id,
            node: wire.node,
            by_hand: wire.by_hand,
            selectors: wire.selectors,
            owner: wire.owner,
            criticality: wire.criticality,
            labels: wire.labels.into_iter().collect(),
            x509_ttl: ttl.map(duration::format),
            dns: wire.dns,
            hint: wire.hint,
            default: wire.is_default,
            expires_at: end.map(|end| end.to_string()),
        }
    }
}

/// The same as YAML.
pub fn yaml(file: &Json) -> String {
    let mut text = format!("version: {}\nregistrations:", file.version);
    if file.registrations.is_empty() {
        text.push_str(" []");
    }
    for registration in &file.registrations {
        registration.write(&mut text);
    }
    text
}

impl Written {
    fn write(&self, text: &mut String) {
        let mut start = "  - ";
        let mut line = |key: &str, value: &str| {
            // Writing into a string does not fail.
            let _ = write!(text, "\n{start}{key}:{value}");
            start = "    ";
        };
        let one = |value: &str| format!(" {}", scalar(value));
        let list = |values: &[String]| {
            let values = values.iter();
            values
                .map(|value| format!("\n      - {}", scalar(value)))
                .collect::<String>()
        };
        line("id", &one(&self.id));
        if self.by_hand {
            line("by_hand", " true");
        } else {
            line("node", &one(&self.node));
            line("selectors", &list(&self.selectors));
        }
        line("owner", &one(&self.owner));
        line("criticality", &one(&self.criticality));
        if !self.labels.is_empty() {
            let labels = self.labels.iter();
            let labels =
                labels.map(|(key, value)| format!("\n      {}: {}", scalar(key), scalar(value)));
            line("labels", &labels.collect::<String>());
        }
        if let Some(ttl) = &self.x509_ttl {
            // Digits and units: nobody takes it for a number.
            line("x509_ttl", &format!(" {ttl}"));
        }
        if !self.dns.is_empty() {
            line("dns", &list(&self.dns));
        }
        if !self.hint.is_empty() {
            line("hint", &one(&self.hint));
        }
        if self.default {
            line("default", " true");
        }
        if let Some(end) = &self.expires_at {
            line("expires_at", &one(end));
        }
    }
}

/// A scalar that every reader of YAML takes for a text. What could be read as something else, a
/// number, a truth, a time or a piece of syntax, is quoted.
fn scalar(value: &str) -> String {
    match is_plain(value) {
        true => value.to_owned(),
        false => quoted(value),
    }
}

fn is_plain(value: &str) -> bool {
    const WORDS: [&str; 11] = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf",
    ];
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b':');
    value.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && value.bytes().all(inner)
        && !value.ends_with(':')
        && !WORDS.contains(&&*value.to_ascii_lowercase())
}

/// In double quotes, and in ASCII: an editor shows what is there.
fn quoted(value: &str) -> String {
    let mut quoted = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ if c.is_alphanumeric() => quoted.push(c),
            // Writing into a string does not fail.
            _ => drop(write!(quoted, "\\U{:08X}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}
