//! What is noted of each key that is asked for.

use serde_json::Value as Json;
use toml::Value;

use super::written::quoted;
use super::{Bounds, Key, Reader, Setting};
use crate::config::setting::{Origin, TABLES, shown};

impl Reader {
    /// A key whose value is the text or the list that is written.
    pub(super) fn note_written(
        &mut self,
        key: &Key,
        kind: &'static str,
        default: Option<Json>,
        bounds: Bounds,
    ) {
        let value = self.value_at(key).map(as_written).or(default.clone());
        self.note(key, kind, value, default, bounds);
    }

    /// A key that has to be written.
    pub(super) fn note_required(&mut self, key: &Key, kind: &'static str, bounds: Bounds) {
        self.note_written(key, kind, None, bounds);
        if let Some(setting) = self.settings.last_mut() {
            setting.is_required = true;
        }
    }

    /// How many tables there are.
    pub(super) fn note_tables(&mut self, key: &Key, most: usize) {
        let tables = self
            .value_at(key)
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        let bounds = match most {
            usize::MAX => Bounds::Any,
            most => Bounds::Range(0.into(), most.into()),
        };
        self.note(key, TABLES, Some(tables.into()), Some(0.into()), bounds);
    }

    pub(super) fn note(
        &mut self,
        key: &Key,
        kind: &'static str,
        value: Option<Json>,
        default: Option<Json>,
        bounds: Bounds,
    ) {
        let origin = match (self.contains(key), &default) {
            (true, _) => Origin::File,
            (false, Some(_)) => Origin::Default,
            (false, None) => Origin::Unset,
        };
        let name = format!("{}{}", self.prefix, key.name);
        self.settings.retain(|setting| setting.key != name);
        self.settings.push(Setting {
            key: name,
            declared: *key,
            kind,
            value,
            origin,
            default,
            bounds,
            is_required: false,
        });
    }

    fn value_at(&self, key: &Key) -> Option<&Value> {
        let mut segments = key.name.split('.');
        let first = self.table.get(segments.next()?)?;
        segments.try_fold(first, |at, segment| at.get(segment))
    }
}

/// A text or a list of texts; nothing else passes the reading.
fn as_written(value: &Value) -> Json {
    match value {
        Value::String(text) => shown(text).into(),
        Value::Array(items) => items.iter().map(as_written).collect(),
        other => quoted(other).into(),
    }
}
