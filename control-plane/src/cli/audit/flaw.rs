//! What is wrong with a log, and where.

use std::path::Path;

use serde::Serialize;

/// Most flaws that are reported; one is enough to distrust a log.
pub(super) const MAX_FLAWS: usize = 20;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Flaw {
    pub(super) file: String,
    /// Where in the file.
    pub(super) offset: Option<u64>,
    /// Which entry of the log.
    pub(super) index: Option<u64>,
    pub(super) problem: String,
}

impl Flaw {
    pub(super) fn new(file: &Path, problem: impl Into<String>) -> Self {
        Self {
            file: file.display().to_string(),
            offset: None,
            index: None,
            problem: problem.into(),
        }
    }

    pub(super) fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(super) fn of_entry(mut self, index: u64) -> Self {
        self.index = Some(index);
        self
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
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
pub(super) struct Flaws(Vec<Flaw>);

impl Flaws {
    pub(super) fn push(&mut self, flaw: Flaw) {
        if self.0.len() < MAX_FLAWS {
            self.0.push(flaw);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_FLAWS
    }

    pub(super) fn into_vec(self) -> Vec<Flaw> {
        self.0
    }
}
