//! The reader itself: keys are asked for, settings noted, mistakes collected, the rest is unknown.

mod choices;
mod kinds;
mod lists;
mod note;
mod paths;
mod unknown;
mod written;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::suggest::closest;
use super::{Bounds, ConfigError, Key, Mistake, Setting, load};
use crate::printable::printable;
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
    /// Whether nothing is read, and only asked what would be.
    is_survey: bool,
    asked: BTreeSet<String>,
    settings: Vec<Setting>,
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

    /// Every key that `read` asks for, with its default: those of tables once, as
    /// `inbound[].listen`. No file is read.
    pub fn survey(read: impl FnOnce(&mut Self)) -> Vec<Setting> {
        let mut reader = Self::over(Path::new(""), String::new(), Table::new());
        reader.is_survey = true;
        read(&mut reader);
        reader.settings
    }

    fn over(file: &Path, prefix: String, table: Table) -> Self {
        Self {
            file: file.to_owned(),
            prefix,
            table,
            is_survey: false,
            asked: BTreeSet::new(),
            settings: Vec::new(),
            mistakes: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Whether a key or section is written at all. Does not count as asking for it.
    pub fn contains(&self, key: impl AsRef<str>) -> bool {
        let mut segments = key.as_ref().split('.');
        let first = segments.next().and_then(|s| self.table.get(s));
        segments
            .try_fold(first, |at, s| at.map(|v| v.get(s)))
            .flatten()
            .is_some()
    }

    /// Whether a section that only some configurations need is to be read: it is written, or this
    /// is a survey of every key.
    pub fn reads(&self, section: &str) -> bool {
        self.is_survey || self.contains(section)
    }

    /// A required key whose text `parse` turns into a value.
    pub fn required<T>(
        &mut self,
        key: &Key,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note_required(key, "text", Bounds::Any);
        self.demand(key.name, remedy);
        self.parsed(key.name, remedy, parse)
    }

    /// An optional key whose text `parse` turns into a value; there is no default.
    pub fn optional<T>(
        &mut self,
        key: &Key,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note_written(key, "text", None, Bounds::Any);
        self.parsed(key.name, remedy, parse)
    }

    /// The same with a default, which `parse` takes.
    pub fn text_or<T>(
        &mut self,
        key: &Key,
        default: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note_written(key, "text", Some(default.into()), Bounds::Any);
        match self.contains(key) {
            true => self.parsed(key.name, remedy, parse),
            false => parse(default).ok(),
        }
    }

    /// The same as [`optional`](Self::optional), of a text that may hold a secret: `shown` is what is told of one that `parse` took, and
    /// nothing is told of another.
    pub fn secret<T>(
        &mut self,
        key: &Key,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        shown: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let value = self.lookup(key.name);
        let parsed = value.map(|value| match value {
            Value::String(text) => parse(&text),
            other => Err(wrong_type("a text in quotes", &other)),
        });
        let value = match parsed {
            None => None,
            Some(Ok(value)) => Some(value),
            Some(Err(problem)) => {
                self.mistake(key, problem, remedy);
                None
            }
        };
        let told = value.as_ref().map(|value| shown(value).into());
        self.note(key, "text", told, None, Bounds::Any);
        value
    }

    /// The tables of an array such as `[[inbound]]`, at most `most`: `read` is called with a reader
    /// for each.
    pub fn tables<T>(
        &mut self,
        key: &Key,
        most: usize,
        mut read: impl FnMut(&mut Reader) -> Option<T>,
    ) -> Vec<T> {
        let remedy = format!(
            "write each as a table under [[{}{}]]",
            self.prefix, key.name
        );
        self.note_tables(key, most);
        if self.is_survey {
            let place = format!("{}[]", key.name);
            return Vec::from_iter(self.descend(&place, Table::new(), &mut read));
        }
        let items = match self.lookup(key.name) {
            None => return Vec::new(),
            Some(Value::Array(items)) if items.len() > most => {
                self.mistake(
                    key,
                    format!("has more than {most} tables"),
                    "merge some of them",
                );
                return Vec::new();
            }
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.mistake(key, wrong_type("a list of tables", &other), remedy);
                return Vec::new();
            }
        };
        let mut values = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("{}[{index}]", key.name);
            match item {
                Value::Table(table) => values.extend(self.descend(&place, table, &mut read)),
                other => self.mistake(&place, wrong_type("a table", &other), remedy.clone()),
            }
        }
        values
    }

    /// Notes a mistake that only the caller can see (two keys that contradict each other).
    pub fn mistake(
        &mut self,
        key: impl AsRef<str>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let mistake = Mistake {
            key: printable(&format!("{}{}", self.prefix, key.as_ref())),
            problem: printable(&problem.into()),
            remedy: printable(&remedy.into()),
        };
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// Ends the reading: unknown keys become mistakes. Gives what was asked for, in that order.
    ///
    /// # Errors
    /// All mistakes.
    pub fn finish(mut self) -> Result<Vec<Setting>, ConfigError> {
        self.note_unknown();
        let mut mistakes = self.mistakes;
        mistakes.append(&mut self.unknown);
        if mistakes.is_empty() {
            return Ok(self.settings);
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
        reader.is_survey = self.is_survey;
        let value = read(&mut reader);
        reader.note_unknown();
        self.settings.append(&mut reader.settings);
        append_new(&mut self.mistakes, reader.mistakes);
        append_new(&mut self.unknown, reader.unknown);
        value
    }

    /// A missing key is a mistake, once for a faulty section.
    fn demand(&mut self, key: &str, remedy: &str) {
        if self.lookup(key).is_none() && !self.is_faulty(key) {
            self.mistake(key, "is missing", remedy);
        }
    }

    /// The text of a key, parsed.
    fn parsed<T>(
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
                key: printable(&format!("{}{key}", self.prefix)),
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
