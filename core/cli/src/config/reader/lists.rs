//! Lists of texts.

use toml::Value;

use super::written::wrong_type;
use super::{Bounds, Key, Reader};

impl Reader {
    /// A list of at most `most` texts, each turned into a value; an empty list is a mistake, a
    /// missing key is none (and gives an empty list).
    pub fn list<T>(
        &mut self,
        key: &Key,
        remedy: &str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.note_written(
            key,
            "list",
            Some(Vec::<String>::new().into()),
            entries(most),
        );
        self.items(key, remedy, most, parse)
    }

    /// A [list](Self::list) that has to be written.
    pub fn required_list<T>(
        &mut self,
        key: &Key,
        remedy: &str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.note_required(key, "list", entries(most));
        self.demand(key.name, remedy);
        self.items(key, remedy, most, parse)
    }

    /// A required key with one text or a list of at most `most`, each turned into a value.
    pub fn one_or_more<T>(
        &mut self,
        key: &Key,
        remedy: &str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.note_required(key, "text or list", entries(most));
        self.demand(key.name, remedy);
        match self.lookup(key.name) {
            Some(Value::Array(_)) => self.items(key, remedy, most, parse),
            _ => Vec::from_iter(self.parsed(key.name, remedy, parse)),
        }
    }

    fn items<T>(
        &mut self,
        key: &Key,
        remedy: &str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let items = match self.lookup(key.name) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.mistake(key, wrong_type("a list of texts", &other), remedy);
                return Vec::new();
            }
        };
        if items.len() > most {
            self.mistake(key, format!("has more than {most} entries"), remedy);
            return Vec::new();
        }
        if items.is_empty() {
            self.mistake(key, "is an empty list", remedy);
        }
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let parsed = match item {
                Value::String(text) => parse(text),
                other => Err(wrong_type("a text", other)),
            };
            let place = format!("{}[{index}]", key.name);
            values.extend(self.accept(&place, item, remedy, parsed));
        }
        values
    }
}

/// The size of the file is a bound of every list.
fn entries(most: usize) -> Bounds {
    match most {
        usize::MAX => Bounds::Any,
        most => Bounds::Entries(most),
    }
}
