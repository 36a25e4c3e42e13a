//! Control planes whose logs were sealed, as an operator was told.

use std::collections::BTreeMap;

use countersign_model::Seq;
use countersign_store::memory::MemoryDatabase;

use super::{Model, Violation, holds};
use crate::operator::SealedLog;

/// One of them.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) log: SealedLog,
    /// Its newest commit at that moment.
    newest: Option<Seq>,
}

/// All of them, by name.
pub(crate) type AllSealed = BTreeMap<String, Sealed>;

impl Model {
    /// An operator was told that it is sealed.
    pub(crate) fn sealed(&mut self, name: &str, log: SealedLog, newest: Option<Seq>) {
        let sealed = Sealed { log, newest };
        self.sealed.insert(name.to_owned(), sealed);
    }

    /// All that are sealed, by name.
    pub(crate) fn all_sealed(&self) -> &AllSealed {
        &self.sealed
    }

    /// Nothing of them was taken since.
    ///
    /// # Errors
    /// Something was.
    pub(crate) fn judge_sealed(&self, database: &MemoryDatabase) -> Result<(), Violation> {
        for (name, sealed) in &self.sealed {
            let (before, after) = (sealed.newest, database.newest_of(name));
            let told =
                || format!("{name} made commit {after:?}, sealed when {before:?} was its newest");
            holds(
                before == after,
                "a_sealed_replica_never_commits_again",
                told,
            )?;
        }
        Ok(())
    }
}

/// One that was sealed starts again.
pub(crate) fn comes_back(name: &str) -> Violation {
    Violation {
        invariant: "a_sealed_replica_never_commits_again",
        what: format!("{name} was sealed, and starts again"),
    }
}

/// A token that was good for two.
pub(crate) fn twice(node: &str) -> Violation {
    Violation {
        invariant: "a_join_token_attests_once",
        what: format!("two machines are {node} by one token"),
    }
}

/// Somebody wrote to a database that lacks what was committed to it.
pub(crate) fn went_on(before: u64, after: u64) -> Violation {
    Violation {
        invariant: "an_older_database_is_refused",
        what: format!("put back at commit {before}, it is at {after}"),
    }
}
