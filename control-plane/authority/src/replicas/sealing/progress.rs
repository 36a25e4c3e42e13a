//! How far the one seal is that is made here: for `status`, and for the command that waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far the seal of a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealing {
    /// Entries whose tiles are written.
    pub entries: u64,
    /// Entries of the log; zero where they are not counted yet.
    pub of: u64,
}

/// One seal at a time, and what is told of it.
#[derive(Debug, Default)]
pub(crate) struct Seals {
    turn: tokio::sync::Mutex<()>,
    told: Arc<Mutex<Option<(String, Sealing)>>>,
}

/// What is told of a seal, as long as it is made.
#[derive(Debug)]
pub(crate) struct Told(Arc<Mutex<Option<(String, Sealing)>>>);

impl Seals {
    /// The turn of one seal.
    pub(crate) fn turn(
        &self,
    ) -> Result<tokio::sync::MutexGuard<'_, ()>, tokio::sync::TryLockError> {
        self.turn.try_lock()
    }

    /// A seal begins, of the log of this control plane.
    pub(crate) fn begin(&self, name: &str) -> Told {
        *lock(&self.told) = Some((name.to_owned(), Sealing::default()));
        Told(Arc::clone(&self.told))
    }

    /// How far that of a control plane is; `None` where none is made now.
    pub(crate) fn of(&self, name: &str) -> Option<Sealing> {
        let told = lock(&self.told);
        let (of, sealing) = told.as_ref()?;
        (of == name).then_some(*sealing)
    }
}

impl Told {
    /// So many entries of so many are sealed.
    pub(crate) fn is(&self, entries: u64, of: u64) {
        if let Some((_, sealing)) = lock(&self.0).as_mut() {
            *sealing = Sealing { entries, of };
        }
    }

    /// What was told last.
    pub(crate) fn sealing(&self) -> Sealing {
        lock(&self.0)
            .as_ref()
            .map(|(_, it)| *it)
            .unwrap_or_default()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        *lock(&self.0) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
