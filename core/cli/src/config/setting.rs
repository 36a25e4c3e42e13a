//! What a reader found out about each key: its value, where that came from, and what it may be.

use serde_json::{Map, Value as Json, json};

use super::Key;

/// What it takes until a changed value holds. A daemon reads its file once, when it starts.
pub const TAKES_EFFECT: &str = "restart";

/// The kind of an array of tables such as `[[inbound]]`; its value is how many there are.
pub const TABLES: &str = "tables";

/// One key as a configuration has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The dotted key with its place, such as `inbound[1].listen`; in a survey `inbound[].listen`.
    pub key: String,
    /// The declaration.
    pub declared: Key,
    /// The kind of value, such as `duration`.
    pub kind: &'static str,
    /// The value that holds; nothing where there is none.
    pub value: Option<Json>,
    /// Where the value came from.
    pub origin: Origin,
    /// What holds where the key is not written, as it would be written.
    pub default: Option<Json>,
    /// What it may be.
    pub bounds: Bounds,
    /// Whether it has to be written.
    pub is_required: bool,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is written in the file.
    File,
    /// It is the default.
    Default,
    /// It is not written, and there is no default.
    Unset,
}

impl Origin {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Default => "default",
            Self::Unset => "unset",
        }
    }
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Bounds {
    /// What its kind says.
    Any,
    /// From one to the other, both included.
    Range(Json, Json),
    /// One of these.
    Choices(Vec<&'static str>),
    /// So many entries at most; at least one where it is written.
    Entries(usize),
}

impl Setting {
    /// The kind, and of a text what it is.
    pub fn kind_in_words(&self) -> String {
        match self.declared.kind {
            "" => self.kind.to_owned(),
            of if self.kind == "text" => of.to_owned(),
            of => format!("{} of {of}", self.kind),
        }
    }

    /// What it may be, in words; empty where its kind says it.
    pub fn bounds_in_words(&self) -> String {
        match &self.bounds {
            _ if !self.declared.bounds.is_empty() => self.declared.bounds.to_owned(),
            Bounds::Any => String::new(),
            Bounds::Range(from, to) => format!("{} to {}", bare(from), bare(to)),
            Bounds::Choices(names) => names.join(", "),
            Bounds::Entries(most) => format!("1 to {most} entries"),
        }
    }

    pub(super) fn to_json(&self) -> Json {
        let mut object = Map::new();
        let mut put = |name: &str, value: Json| object.insert(name.to_owned(), value);
        put("key", json!(self.key));
        put("value", json!(self.value));
        put("origin", json!(self.origin.as_str()));
        put("default", json!(self.default));
        put("type", json!(self.kind_in_words()));
        put("required", json!(self.is_required));
        match &self.bounds {
            Bounds::Range(from, to) => {
                put("minimum", from.clone());
                put("maximum", to.clone());
            }
            Bounds::Choices(names) => drop(put("choices", json!(names))),
            Bounds::Entries(most) => drop(put("max_entries", json!(most))),
            Bounds::Any => {}
        }
        put("takes_effect", json!(TAKES_EFFECT));
        put("since", json!(self.declared.since));
        put("meaning", json!(self.declared.meaning));
        object.into()
    }
}

/// A value in a sentence: a text without quotes.
pub(super) fn bare(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text as it may be shown: of a URL with user information, the rest. So also where the scheme is
/// missing or misspelt, for it may be a mistake that is told.
pub(super) fn shown(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(start);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if start > 0 || rest[..at].contains(':') => {
            format!("{scheme}(hidden)@{}", &rest[at + 1..])
        }
        _ => text.to_owned(),
    }
}
