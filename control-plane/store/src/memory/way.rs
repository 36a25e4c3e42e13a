//! What comes between a control plane and a database in memory: nothing, or what a simulation draws.

use std::fmt;

use futures_util::future::{BoxFuture, ready};

/// What is asked of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The state, or a session.
    State,
    /// Entries of a log, for which a thread may wait.
    Entries,
    /// What was committed, or how much.
    Commits,
    /// A batch, or what became of one.
    Batch,
}

/// The way to the database and back. An error says why nothing arrives.
pub trait Way: fmt::Debug + Send + Sync {
    /// Takes a question there.
    fn there(&self, asked: Asked) -> BoxFuture<'_, Result<(), String>>;

    /// Takes the answer back. What was done stays done where it is lost.
    fn back(&self, asked: Asked) -> BoxFuture<'_, Result<(), String>>;

    /// Whether the COMMIT of a batch arrives, whose other statements did: if not, nobody is told.
    fn commits(&self) -> bool;

    /// Returns when the notice of a commit arrives: never, where it is lost.
    fn notice(&self) -> BoxFuture<'_, ()>;
}

/// Nothing is between.
#[derive(Clone, Copy, Debug)]
pub struct Direct;

impl Way for Direct {
    fn there(&self, _: Asked) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }

    fn back(&self, _: Asked) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }

    fn commits(&self) -> bool {
        true
    }

    fn notice(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}
