//! What is written in the file, as a report repeats it.

use toml::Value;

use crate::config::setting::shown;

/// Characters of a wrong value that are repeated in the report.
const MAX_QUOTED_CHARS: usize = 80;

/// A key as it has to be written: quoted where it is no bare key.
pub(super) fn written_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

/// A value as it is repeated in the report: lists and tables only in outline, a URL without its user
/// information.
pub(super) fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let text = shown(text);
            let cut: String = text.chars().take(MAX_QUOTED_CHARS).collect();
            let dots = if cut.len() < text.len() { "…" } else { "" };
            format!("{cut:?}{dots}")
        }
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Datetime(date) => date.to_string(),
        Value::Array(_) => "[…]".to_owned(),
        Value::Table(_) => "{…}".to_owned(),
    }
}

pub(super) fn wrong_type(wanted: &str, value: &Value) -> String {
    format!("has to be {wanted}, not {}", type_name(value))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}
