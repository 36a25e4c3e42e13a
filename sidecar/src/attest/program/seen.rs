//! Which processes were seen with which executable, while that was the file at its path here, and
//! were given something for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use countersign_serve::places::Holder;

use super::Program;
use super::lookup::{Lookups, NoAnswer};
use crate::attest::selectors::Process;

/// Most processes that are remembered. One that is forgotten keeps its open streams and no more. A
/// path is at most 1 kB, so 1 MB in all.
pub(crate) const MAX_PROGRAMS: usize = 1_024;
/// How many of the oldest processes are looked at, whether they still run, of the holder who has most.
const MAX_ASKED: usize = 16;

/// See the page of this module. At most [`MAX_PROGRAMS`]: where there is no room, whoever
/// most of them are counted for loses one that has ended, or else the one that was not seen for the longest time.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    seen: Mutex<VecDeque<Seen>>,
    lookups: Lookups,
}

#[derive(Debug)]
struct Seen {
    holder: Holder,
    process: Process,
    program: Program,
}

impl Programs {
    /// What `look` finds, which goes to this path: see [`Lookups`].
    ///
    /// # Errors
    /// It does not come back in time.
    pub(in crate::attest) async fn look<T: Send + 'static>(
        &self,
        path: &str,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        self.lookups.run(path, look).await
    }

    /// Whether this process was seen so.
    pub(in crate::attest) fn contain(&self, process: Process, program: &Program) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        position(&seen, process, program).is_some()
    }

    /// Remembers a process for its later connections.
    pub(in crate::attest) fn remember(&self, holder: &Holder, process: Process, program: &Program) {
        self.remember_while(holder, process, program, |process| {
            Process::of(process.pid).is_ok_and(|now| now == process)
        });
    }

    pub(super) fn remember_while(
        &self,
        holder: &Holder,
        process: Process,
        program: &Program,
        runs: impl Fn(Process) -> bool,
    ) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = position(&seen, process, program) {
            seen.remove(known);
        }
        if seen.len() >= MAX_PROGRAMS {
            make_room(&mut seen, runs);
        }
        seen.push_back(Seen {
            holder: holder.clone(),
            process,
            program: program.clone(),
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn position(seen: &VecDeque<Seen>, process: Process, program: &Program) -> Option<usize> {
    seen.iter()
        .position(|seen| seen.process == process && seen.program == *program)
}

fn make_room(seen: &mut VecDeque<Seen>, runs: impl Fn(Process) -> bool) {
    let mut counts = HashMap::<&Holder, usize>::new();
    for seen in &*seen {
        *counts.entry(&seen.holder).or_default() += 1;
    }
    let Some((greedy, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else {
        return;
    };
    let theirs = seen.iter().enumerate();
    let mut theirs = theirs.filter(|(_, seen)| seen.holder == *greedy);
    let mut oldest = theirs.by_ref().take(MAX_ASKED).peekable();
    let first = oldest.peek().map(|(place, _)| *place);
    let ended = oldest.find(|(_, seen)| !runs(seen.process));
    let ended = ended.map(|(place, _)| place);
    if let Some(place) = ended.or(first) {
        seen.remove(place);
    }
}
