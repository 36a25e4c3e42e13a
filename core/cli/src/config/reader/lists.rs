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

    /// One text under `one`, or a list of at most `most` texts under `several`, each turned into a
    /// value. One of the two keys has to be written, and not both.
    pub fn one_or_several<T>(
        &mut self,
        (one, several): (&Key, &Key),
        remedy: &str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.note_written(one, "text", None, Bounds::Any);
        self.note_written(several, "list", None, entries(most));
        match (self.contains(one), self.contains(several)) {
            (true, true) => {
                let problem = format!("cannot stand beside {}{}", self.prefix, one.name);
                self.mistake(several, problem, remedy);
            }
            (false, false) => self.demand(one.name, remedy),
            _ => {}
        }
        let mut values = self.items(several, remedy, most, &parse);
        values.extend(self.parsed(one.name, remedy, parse));
        values
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
