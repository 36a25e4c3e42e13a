//! Every commit of the database is handed over once, in order: own ones to who made them, those of others to
//! one who takes them all.
//!
//! The [writer](crate::writer) is the one task that hands over, so nothing of it is under a lock. Own commits
//! are known by the places that the database gave them. What others committed is read, up to the place
//! before an own commit, or as far as there is any.
//!
//! Who takes a commit changes its state by it, and quickly. One that panics has not taken it: a state that
//! lacks a commit must not go on, so the store stops.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use countersign_model::Seq;
use tokio::sync::{oneshot, watch};

use crate::Committed;

/// Most stretches of own commits that are remembered until somebody takes what others commit. A stretch ends
/// where another committed in between; there are a few commits between the reading of a state and that moment.
const STRETCHES: usize = 1_024;

/// What is called when a commit is made, with its place.
pub(crate) struct Then(Box<dyn FnOnce(Seq) + Send>);

impl Then {
    pub(crate) fn new(then: impl FnOnce(Seq) + Send + 'static) -> Self {
        Self(Box::new(then))
    }
}

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Then")
    }
}

/// Who takes what others commit.
type Take = Box<dyn FnMut(Committed) + Send>;

/// From which commit on somebody takes what others commit.
pub(crate) struct HandOver {
    from: Seq,
    take: Take,
    begun: oneshot::Sender<()>,
}

impl HandOver {
    /// Also returns what tells that it has begun.
    pub(crate) fn new(
        from: Seq,
        take: impl FnMut(Committed) + Send + 'static,
    ) -> (Self, oneshot::Receiver<()>) {
        let (begun, told) = oneshot::channel();
        let take = Box::new(take);
        (Self { from, take, begun }, told)
    }
}

/// A commit that panicked where it was handed to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("commit {} could not be taken, by a mistake of this program that its log names", .0.0)]
pub(crate) struct NotTaken(Seq);

/// How far commits are handed over.
pub(crate) struct Handing {
    /// The newest that was, with all before it.
    seq: Seq,
    /// Whether others commit too.
    is_shared: bool,
    /// `None` until somebody takes what others commit.
    take: Option<Take>,
    /// Own commits from before that.
    own: Stretches,
    seen: watch::Sender<Seq>,
}

impl Handing {
    /// All up to `newest` is in what anybody reads.
    pub(crate) fn new(newest: Seq, is_shared: bool) -> Self {
        Self {
            seq: newest,
            is_shared,
            take: None,
            own: Stretches::default(),
            seen: watch::Sender::new(newest),
        }
    }

    pub(crate) fn seen(&self) -> watch::Receiver<Seq> {
        self.seen.subscribe()
    }

    pub(crate) fn seq(&self) -> Seq {
        self.seq
    }

    /// Hands over from a commit on. `false` where it is not known any more which commits after it are own
    /// ones, that were handed over.
    pub(crate) fn begin(&mut self, asked: HandOver) -> bool {
        let is_known = asked.from >= self.own.forgotten;
        self.seq = asked.from;
        self.take = Some(asked.take);
        self.publish();
        // Who asked may have gone away.
        let _ = asked.begun.send(());
        is_known
    }

    /// After which commit those of others are to be handed over; `None` where they are not.
    pub(crate) fn taken_after(&self) -> Option<Seq> {
        let is_taken = self.is_shared && self.take.is_some();
        is_taken.then_some(self.seq)
    }

    /// Whether there is something to hand over, where `newest` was committed.
    pub(crate) fn is_behind(&self, newest: Seq) -> bool {
        self.taken_after().is_some_and(|seq| seq < newest)
    }

    /// Hands over what others committed. What was handed over already is left out.
    pub(crate) fn give(&mut self, commits: Vec<Committed>) -> Result<(), NotTaken> {
        for commit in commits {
            let seq = commit.seq;
            if seq <= self.seq {
                continue;
            }
            if let Some(take) = &mut self.take
                && !self.own.holds(seq)
            {
                let taken = catch_unwind(AssertUnwindSafe(|| take(commit)));
                taken.map_err(|_| NotTaken(seq))?;
            }
            self.seq = seq;
        }
        self.publish();
        Ok(())
    }

    /// There is nothing to hand over up to a commit.
    pub(crate) fn reach(&mut self, seq: Seq) {
        self.seq = self.seq.max(seq);
        self.publish();
    }

    /// Hands own commits over, which are the next.
    pub(crate) fn give_own(
        &mut self,
        commits: impl Iterator<Item = (Seq, Then)>,
    ) -> Result<(), NotTaken> {
        for (seq, Then(then)) in commits {
            let taken = catch_unwind(AssertUnwindSafe(|| then(seq)));
            taken.map_err(|_| NotTaken(seq))?;
            let is_early = self.is_shared && self.take.is_none();
            if is_early {
                self.own.add(seq);
            }
            // An early one may have others before it that are not handed over.
            if !is_early || self.seq.0 + 1 == seq.0 {
                self.seq = seq;
            }
        }
        self.publish();
        Ok(())
    }

    /// It never goes back, though who begins to take may begin before own commits.
    fn publish(&self) {
        let seq = self.seq;
        self.seen.send_if_modified(|seen| {
            let is_newer = *seen < seq;
            *seen = seq.max(*seen);
            is_newer
        });
    }
}

/// Own commits, as stretches without a gap.
#[derive(Debug, Default)]
struct Stretches {
    /// First and last of each, in order; at most [`STRETCHES`].
    known: Vec<(Seq, Seq)>,
    /// The last that is not known any more.
    forgotten: Seq,
}

impl Stretches {
    fn add(&mut self, seq: Seq) {
        match self.known.last_mut() {
            Some((_, last)) if last.0 + 1 == seq.0 => *last = seq,
            _ => self.known.push((seq, seq)),
        }
        if self.known.len() > STRETCHES {
            let (_, last) = self.known.remove(0);
            self.forgotten = last;
        }
    }

    fn holds(&self, seq: Seq) -> bool {
        let next = self.known.partition_point(|(_, last)| *last < seq);
        self.known.get(next).is_some_and(|(first, _)| *first <= seq)
    }
}

#[cfg(test)]
mod tests;
