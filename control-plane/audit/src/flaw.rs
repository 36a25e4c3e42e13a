//! What is wrong with a log, and where.

use std::path::Path;

use serde::Serialize;

/// Most flaws of a log that are reported; one is enough to distrust it.
pub const MAX_FLAWS: usize = 20;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// The path of the file.
    pub file: String,
    /// Where in the file.
    pub offset: Option<u64>,
    /// Which entry of the log.
    pub index: Option<u64>,
    /// What is wrong there.
    pub problem: String,
}

impl Flaw {
    pub(crate) fn new(file: &Path, problem: impl Into<String>) -> Self {
        Self {
            file: file.display().to_string(),
            offset: None,
            index: None,
            problem: problem.into(),
        }
    }

    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(crate) fn of_entry(mut self, index: u64) -> Self {
        self.index = Some(index);
        self
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let offset = self.offset.map(|offset| format!(", byte {offset}"));
        let index = self.index.map(|index| format!(", entry {index}"));
        format!(
            "{}{}{}: {}",
            self.file,
            offset.unwrap_or_default(),
            index.unwrap_or_default(),
            self.problem
        )
    }
}

/// The first [`MAX_FLAWS`] flaws.
#[derive(Debug, Default)]
pub(crate) struct Flaws(Vec<Flaw>);

impl Flaws {
    pub(crate) fn push(&mut self, flaw: Flaw) {
        if self.0.len() < MAX_FLAWS {
            self.0.push(flaw);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_FLAWS
    }

    pub(crate) fn into_vec(self) -> Vec<Flaw> {
        self.0
    }
}
