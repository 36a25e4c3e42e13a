//! The reader itself: keys are asked for, mistakes collected, the rest is unknown.

mod kinds;
mod paths;
mod unknown;
mod written;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::suggest::closest;
use super::{ConfigError, Mistake, load};
use crate::outcome::escaped;
pub use paths::MAX_SOCKET_PATH_BYTES;
use unknown::unknown_in;
use written::{quoted, written_key, wrong_type};

/// Reads keys of one table and collects mistakes; a key that nobody asked for is one. Values are
/// placeholders where a mistake was noted: [`Reader::finish`] decides whether they are used.
#[derive(Debug)]
pub struct Reader {
    file: PathBuf,
    /// Where this table stands in the file: empty, or `inbound[1].`.
    prefix: String,
    table: Table,
    asked: BTreeSet<String>,
    mistakes: Vec<Mistake>,
    unknown: Vec<Mistake>,
}

impl Reader {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML, with line and column.
    pub fn open(file: &Path) -> Result<Self, ConfigError> {
        match load::load(file) {
            Ok(table) => Ok(Self::over(file, String::new(), table)),
            Err(mistake) => Err(ConfigError {
                file: file.to_owned(),
                mistakes: vec![mistake],
            }),
        }
    }

    fn over(file: &Path, prefix: String, table: Table) -> Self {
        Self {
            file: file.to_owned(),
            prefix,
            table,
            asked: BTreeSet::new(),
            mistakes: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Whether a key or section is written at all. Does not count as asking for it.
    pub fn contains(&self, key: &str) -> bool {
        let mut segments = key.split('.');
        let first = segments.next().and_then(|s| self.table.get(s));
        segments
            .try_fold(first, |at, s| at.map(|v| v.get(s)))
            .flatten()
            .is_some()
    }

    /// A required key whose text `parse` turns into a value.
    pub fn required<T>(
        &mut self,
        key: &str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.lookup(key).is_none() {
            if !self.is_faulty(key) {
                self.mistake(key, "is missing", remedy);
            }
            return None;
        }
        self.optional(key, remedy, parse)
    }

    /// An optional key whose text `parse` turns into a value.
    pub fn optional<T>(
        &mut self,
        key: &str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.lookup(key)?;
        let parsed = match &value {
            Value::String(text) => parse(text),
            other => Err(wrong_type("a text in quotes", other)),
        };
        self.accept(key, &value, remedy, parsed)
    }

    /// A list of texts, each turned into a value; an empty list is a mistake, a missing key is
    /// none (and gives an empty list).
    pub fn list<T>(
        &mut self,
        key: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let items = match self.lookup(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.mistake(key, wrong_type("a list of texts", &other), remedy);
                return Vec::new();
            }
        };
        if items.is_empty() {
            self.mistake(key, "is an empty list", remedy);
        }
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let parsed = match item {
                Value::String(text) => parse(text),
                other => Err(wrong_type("a text", other)),
            };
            values.extend(self.accept(&format!("{key}[{index}]"), item, remedy, parsed));
        }
        values
    }

    /// A required key with one text or a list of at most `most`, each turned into a value.
    pub fn one_or_more<T>(
        &mut self,
        key: &str,
        remedy: &str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        match self.lookup(key) {
            Some(Value::Array(_)) => self.list_of(key, remedy, most, parse),
            _ => self.required(key, remedy, parse).into_iter().collect(),
        }
    }

    /// A [list](Self::list) of at most `most` texts.
    pub fn list_of<T>(
        &mut self,
        key: &str,
        remedy: &str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        if let Some(Value::Array(items)) = self.lookup(key)
            && items.len() > most
        {
            self.mistake(key, format!("has more than {most} entries"), remedy);
            return Vec::new();
        }
        self.list(key, remedy, parse)
    }

    /// The tables of an array such as `[[inbound]]`: `read` is called with a reader for each.
    pub fn tables<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Reader) -> Option<T>,
    ) -> Vec<T> {
        let remedy = format!("write each as a table under [[{}{key}]]", self.prefix);
        let items = match self.lookup(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.mistake(key, wrong_type("a list of tables", &other), remedy);
                return Vec::new();
            }
        };
        let mut values = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("{key}[{index}]");
            match item {
                Value::Table(table) => values.extend(self.descend(&place, table, &mut read)),
                other => self.mistake(&place, wrong_type("a table", &other), remedy.clone()),
            }
        }
        values
    }

    /// Notes a mistake that only the caller can see (two keys that contradict each other).
    pub fn mistake(&mut self, key: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let mistake = Mistake {
            key: escaped(&format!("{}{key}", self.prefix)),
            problem: escaped(&problem.into()),
            remedy: escaped(&remedy.into()),
        };
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// Ends the reading: unknown keys become mistakes.
    ///
    /// # Errors
    /// All mistakes.
    pub fn finish(mut self) -> Result<(), ConfigError> {
        self.note_unknown();
        let mut mistakes = self.mistakes;
        mistakes.append(&mut self.unknown);
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(ConfigError {
            file: self.file,
            mistakes,
        })
    }

    fn descend<T>(
        &mut self,
        place: &str,
        table: Table,
        read: &mut impl FnMut(&mut Reader) -> Option<T>,
    ) -> Option<T> {
        let prefix = format!("{}{place}.", self.prefix);
        let mut reader = Reader::over(&self.file, prefix, table);
        let value = read(&mut reader);
        reader.note_unknown();
        append_new(&mut self.mistakes, reader.mistakes);
        append_new(&mut self.unknown, reader.unknown);
        value
    }

    /// The value of a key. A section that is no table is a mistake, and gives no value.
    fn lookup(&mut self, key: &str) -> Option<Value> {
        self.asked.insert(key.to_owned());
        let mut at = &self.table;
        let mut sections = key.split('.').peekable();
        let mut path = Vec::new();
        while let Some(section) = sections.next() {
            let value = at.get(section)?;
            if sections.peek().is_none() {
                return Some(value.clone());
            }
            path.push(section);
            match value {
                Value::Table(table) => at = table,
                other => {
                    let path = path.join(".");
                    let problem = wrong_type("a section", other);
                    self.mistake(&path, problem, format!("write [{}{path}]", self.prefix));
                    return None;
                }
            }
        }
        None
    }

    /// Whether a section that the key stands in was noted already: one mistake, one report.
    fn is_faulty(&self, key: &str) -> bool {
        let full = format!("{}{key}", self.prefix);
        self.mistakes.iter().any(|mistake| {
            full.strip_prefix(&mistake.key)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// The value, or a mistake that quotes what was written.
    fn accept<T>(
        &mut self,
        key: &str,
        written: &Value,
        remedy: &str,
        parsed: Result<T, String>,
    ) -> Option<T> {
        parsed
            .map_err(|problem| {
                let problem = format!("{} {problem}", quoted(written));
                self.mistake(key, problem, remedy);
            })
            .ok()
    }

    fn note_unknown(&mut self) {
        for path in unknown_in(&self.table, &self.asked) {
            let key = path.iter().map(|s| written_key(s)).collect::<Vec<_>>();
            let key = key.join(".");
            let remedy = match closest(&key, self.asked.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean {}{meant}?", self.prefix),
                None => "remove it".to_owned(),
            };
            self.unknown.push(Mistake {
                key: escaped(&format!("{}{key}", self.prefix)),
                problem: "is not a key of this configuration".to_owned(),
                remedy,
            });
        }
    }
}

fn append_new(mistakes: &mut Vec<Mistake>, more: Vec<Mistake>) {
    for mistake in more {
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }
}
