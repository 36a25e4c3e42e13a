//! What is registered, as far as anybody outside can know.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{BOUND, SETTLES, Violation, holds};
use crate::operator::Key;

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    pub(crate) wall: Timestamp,
}

/// Whether something is registered.
#[derive(Clone, Copy, Debug)]
enum Standing {
    /// It was said so, and nothing asked for since.
    Present(Moment),
    /// The same of its removal.
    Absent(Moment),
    /// A change was asked for, and not answered.
    Doubtful(Instant),
}

/// How long it takes, at most, until everybody tells what one of them did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    /// What was answered.
    pub(crate) answered: Duration,
    /// What was not, and may still be done.
    pub(crate) doubtful: Duration,
}

/// Every registration that anybody ever asked for.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    all: BTreeMap<Key, Standing>,
    /// How often any of them changed.
    changes: u64,
    /// When the newest removal was answered.
    newest_removal: Option<Instant>,
}

impl Expectations {
    fn insert(&mut self, key: Key, standing: Standing) -> Option<Standing> {
        self.changes += 1;
        if let Standing::Absent(moment) = &standing {
            self.newest_removal = Some(moment.at);
        }
        self.all.insert(key, standing)
    }

    /// How often any of them changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether something was removed a moment ago, so that time alone may make it late.
    pub(crate) fn has_young(&self) -> bool {
        let newest = self.newest_removal;
        newest.is_some_and(|at| at.elapsed() <= 2 * BOUND)
    }

    /// A change is asked for: what was, where it comes to nothing.
    pub(crate) fn asked(&mut self, key: &Key) -> Before {
        Before(self.insert(key.clone(), Standing::Doubtful(Instant::now())))
    }

    /// It was answered.
    pub(crate) fn answered(&mut self, key: &Key, is_present: bool, wall: Timestamp) {
        let moment = Moment {
            at: Instant::now(),
            wall,
        };
        let standing = match is_present {
            true => Standing::Present(moment),
            false => Standing::Absent(moment),
        };
        self.insert(key.clone(), standing);
    }

    /// It was so before, and nothing has changed: since when it is so, stays.
    pub(crate) fn confirmed(&mut self, key: &Key, Before(standing): Before, wall: Timestamp) {
        match standing {
            Some(present @ Standing::Present(_)) => drop(self.all.insert(key.clone(), present)),
            _ => self.answered(key, true, wall),
        }
    }

    /// It was refused: nothing has changed.
    pub(crate) fn refused(&mut self, key: &Key, Before(standing): Before) {
        match standing {
            Some(standing) => self.insert(key.clone(), standing),
            None => self.all.remove(key),
        };
    }

    /// A control plane says that these are all: what was acknowledged is so, and what was in doubt is
    /// known now, as far as it is not younger than the lag.
    ///
    /// # Errors
    /// Something that was acknowledged is not so.
    pub(crate) fn listed(
        &mut self,
        listed: &[Key],
        lag: Lag,
        wall: Timestamp,
    ) -> Result<(), Violation> {
        let invariant = "what_was_acknowledged_is_kept";
        for key in listed {
            let told = || format!("{key:?} is listed, and nobody asked for it");
            holds(self.all.contains_key(key), invariant, told)?;
        }
        let keys: Vec<_> = self.all.keys().cloned().collect();
        for key in keys {
            let is_listed = listed.contains(&key);
            let is_kept = match self.all[&key] {
                Standing::Present(it) | Standing::Absent(it) if it.at.elapsed() < lag.answered => {
                    true
                }
                Standing::Present(_) => is_listed,
                Standing::Absent(_) => !is_listed,
                Standing::Doubtful(at) => {
                    if at.elapsed() >= lag.doubtful {
                        self.answered(&key, is_listed, wall);
                    }
                    true
                }
            };
            let told = || format!("{key:?} was {:?}, listed: {is_listed}", self.all[&key]);
            holds(is_kept, invariant, told)?;
        }
        Ok(())
    }

    /// Whether anybody ever asked for it.
    pub(crate) fn is_known(&self, key: &Key) -> bool {
        self.all.contains_key(key)
    }

    /// Whether a change was asked for, and nobody knows whether it was done.
    pub(crate) fn is_doubtful(&self, key: &Key) -> bool {
        matches!(self.all.get(key), Some(Standing::Doubtful(_)))
    }

    pub(crate) fn absent_since(&self, key: &Key) -> Option<Moment> {
        match self.all.get(key)? {
            Standing::Absent(moment) => Some(*moment),
            _ => None,
        }
    }

    pub(crate) fn present_since(&self, key: &Key) -> Option<Moment> {
        match self.all.get(key)? {
            Standing::Present(moment) => Some(*moment),
            _ => None,
        }
    }

    /// What is registered for a node, and since when.
    pub(crate) fn present_of(&self, node: &str) -> impl Iterator<Item = (&Key, Instant)> {
        self.all
            .iter()
            .filter_map(move |(key, standing)| match standing {
                Standing::Present(moment) if key.node == node => Some((key, moment.at)),
                _ => None,
            })
    }

    /// What is registered for a node and has been for long.
    pub(crate) fn settled_at(&self, node: &str) -> impl Iterator<Item = &Key> {
        self.all
            .iter()
            .filter_map(move |(key, standing)| match standing {
                Standing::Present(moment) => {
                    let is_settled = key.node == node && moment.at.elapsed() >= SETTLES;
                    is_settled.then_some(key)
                }
                _ => None,
            })
    }

    /// What is registered, as far as anybody knows.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Key> {
        let present = self.all.iter();
        present.filter_map(|(key, it)| matches!(it, Standing::Present(_)).then_some(key))
    }
}

/// What was known before a change was asked for.
#[derive(Clone, Copy, Debug)]
#[must_use = "a refusal gives it back"]
pub(crate) struct Before(Option<Standing>);
