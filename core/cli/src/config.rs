//! A strict reader of TOML configuration that reports every mistake at once.
//!
//! Each key is asked for by its declaration, a [`Key`]; what was not asked for is a mistake, so a
//! typing error cannot silently leave a default in place. What was read is told as [`Setting`]s.
//! Reading never touches the world beyond the file.

mod effective;
mod key;
mod load;
mod reader;
mod setting;
mod suggest;

use std::fmt;
use std::path::PathBuf;

pub use effective::{check, file_or_default};
pub use key::Key;
pub use load::MAX_FILE_BYTES;
pub use reader::{MAX_SOCKET_PATH_BYTES, Reader};
pub use setting::{Bounds, Origin, Setting, TABLES, TAKES_EFFECT};
pub use suggest::closest;

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The dotted key, such as `api.listen` or `inbound[1].allow`; empty where the file as a whole
    /// is at fault.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// All mistakes of one file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Every mistake, in the order of the keys asked for; unknown keys last.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for ConfigError {
    /// A headline, then a line for each mistake: `file: key: problem; remedy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        let count = self.mistakes.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        write!(f, "{count} {noun} in {file}")?;
        for mistake in &self.mistakes {
            write!(f, "\n{file}: {mistake}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

#[cfg(test)]
mod tests;
