//! What the logs of one trust domain say of each other: the replicas of a control plane have a log each,
//! and name those of others that joined, or are gone and were sealed.

use std::ops::Range;

use serde::Serialize;

use crate::flaw::{Flaw, Flaws};
use crate::folder::Folder;
use crate::named::Seal;
use crate::report::Report;
use crate::walk::root_at;

/// A log of the trust domain that nobody gave: nothing is said about what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Its id, in hexadecimal digits.
    pub log_id: String,
    /// The replica whose log it is.
    pub replica: String,
    /// The log that names it.
    pub named_in: String,
    /// The entry that names it.
    pub index: u64,
}

/// What is wrong between logs, and which of them were not given.
pub(crate) fn judge(logs: &[Report]) -> (Vec<Flaw>, Vec<Missing>) {
    let mut flaws = Flaws::default();
    for (place, log) in logs.iter().enumerate() {
        for before in &logs[..place] {
            differ(before, log, &mut flaws);
        }
        for seal in &log.seals {
            held(log, seal, logs, &mut flaws);
        }
    }
    (flaws.into_vec(), missing(logs))
}

/// Two logs have no serial in common, but for what one of them is a copy of. Serials name their log
/// and their index, so two of them are alike where both logs have entries of one id at one index.
fn differ(before: &Report, log: &Report, flaws: &mut Flaws) {
    for ((id, here), is_own) in parts(log) {
        for ((_, there), was_own) in parts(before).filter(|((other, _), _)| *other == id) {
            let both = here.start.max(there.start)..here.end.min(there.end);
            if is_own && was_own {
                flaws.push(wrong(log, format!("is log {id}, as {} is", before.log)));
            } else if !both.is_empty() {
                is_copy(before, log, both.end, flaws);
            }
        }
    }
}

/// Below an index both logs have the same entries: after a restore a log goes on as another one.
fn is_copy(before: &Report, log: &Report, end: u64, flaws: &mut Flaws) {
    let root = |report: &Report| root_at(&Folder::new(report.log.as_ref()), end);
    let problem = match (root(before), root(log)) {
        (Ok(there), Ok(here)) if there == here => return,
        (Ok(_), Ok(_)) => format!(
            "says that it goes on from the first {end} entries of the same log as {}, and has others",
            before.log
        ),
        (Err(unread), _) | (_, Err(unread)) => {
            format!("its first {end} entries cannot be compared: a tile {unread}")
        }
    };
    flaws.push(wrong(log, problem));
}

/// A log that was sealed is as long as the seal says, and has that root.
fn held(by: &Report, seal: &Seal, logs: &[Report], flaws: &mut Flaws) {
    let is_it = |log: &&Report| log.log_id.as_deref() == Some(&*seal.log_id);
    let told = format!("entry {} of {}", seal.index, by.log);
    for log in logs.iter().filter(is_it) {
        let problem = if log.size > seal.size {
            format!(
                "has {} entries, and {told} sealed it with {}: it goes on after its seal",
                log.size, seal.size
            )
        } else if log.size < seal.size {
            format!(
                "has {} entries, and {told} sealed it with {}",
                log.size, seal.size
            )
        } else if log.root_hash != seal.root_hash {
            format!("its root hash is another than that of the seal in {told}")
        } else {
            continue;
        };
        flaws.push(wrong(log, problem));
    }
    let mut seals = logs.iter().flat_map(|log| &log.seals);
    let is_other = |other: &Seal| {
        let is_same = (other.size, &other.root_hash) == (seal.size, &seal.root_hash);
        other.log_id == seal.log_id && !is_same
    };
    if seals.any(is_other) {
        let problem = format!(
            "seals log {}, and another entry does otherwise",
            seal.log_id
        );
        flaws.push(wrong(by, problem).of_entry(seal.index));
    }
}

/// The logs that those which were given name, and that are not among them. One that another goes on
/// from after a restore is in that.
fn missing(logs: &[Report]) -> Vec<Missing> {
    let mut missing: Vec<Missing> = Vec::new();
    for log in logs {
        let joins = log
            .joined
            .iter()
            .map(|it| (&it.log_id, &it.replica, it.index));
        let seals = log
            .seals
            .iter()
            .map(|it| (&it.log_id, &it.replica, it.index));
        for (log_id, replica, index) in joins.chain(seals) {
            let is_given = logs.iter().flat_map(parts).any(|((id, _), _)| id == log_id);
            if !is_given && missing.iter().all(|it| it.log_id != *log_id) {
                missing.push(Missing {
                    log_id: log_id.clone(),
                    replica: replica.clone(),
                    named_in: log.log.clone(),
                    index,
                });
            }
        }
    }
    missing
}

/// Under which ids the entries of a log were made, and whether that is its own.
fn parts(log: &Report) -> impl Iterator<Item = ((&str, Range<u64>), bool)> {
    let starts = log.goes_on_from.iter().map(|from| from.entries);
    let starts = std::iter::once(0).chain(starts);
    let before = log.goes_on_from.iter();
    let ends = before.map(|from| (&*from.log_id, from.entries, false));
    let own = log.log_id.as_deref();
    let ends = ends.chain(own.map(|id| (id, log.size, true)));
    let parts = starts.zip(ends);
    parts.map(|(start, (id, end, is_own))| ((id, start..end), is_own))
}

fn wrong(log: &Report, problem: String) -> Flaw {
    Flaw::new(&Folder::new(log.log.as_ref()).checkpoint_path(), problem)
}
