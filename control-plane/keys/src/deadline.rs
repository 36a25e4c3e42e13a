//! A key store whose device may never answer: it is asked in threads that can be left behind, and
//! for no longer than a deadline.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::calls::{Bounds, Calls, Refused};
use super::{CaKey, Condition, KeyError, KeyStore, StoreKind, StoreState, ToBeSigned};

/// The bounds of a PKCS#11 module. A place for each of its sessions; a caller waits for five
/// seconds for one of them, and for ten until a call returns.
pub(super) const TOKEN: Bounds = Bounds {
    calls: super::pkcs11::MAX_SESSIONS,
    waiting: 256,
    place_wait: Duration::from_secs(5),
    deadline: Duration::from_secs(10),
    trial_after: Duration::from_secs(40),
};

/// A store that is asked within bounds.
#[derive(Debug)]
pub struct DeadlineKeyStore {
    store: Arc<dyn KeyStore>,
    line: Arc<Line>,
}

/// What the store and its keys share.
#[derive(Debug)]
struct Line {
    kind: StoreKind,
    calls: Arc<Calls>,
    /// Whether the log tells of a store that hangs.
    is_told: AtomicBool,
}

impl DeadlineKeyStore {
    /// This store, asked within these bounds.
    pub fn new(kind: StoreKind, store: Arc<dyn KeyStore>, bounds: Bounds) -> Self {
        let line = Line {
            kind,
            calls: Calls::new(bounds),
            is_told: AtomicBool::new(false),
        };
        Self {
            store,
            line: Arc::new(line),
        }
    }

    fn key(&self, key: Arc<dyn CaKey>) -> Arc<dyn CaKey> {
        let line = self.line.clone();
        Arc::new(PatientKey { key, line })
    }
}

impl KeyStore for DeadlineKeyStore {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        let (store, its) = (self.store.clone(), self.store.clone());
        // Nobody would ever ask for a key that was made too late.
        let late = move |made: Result<Arc<dyn CaKey>, KeyError>| {
            let undone = made.and_then(|key| its.destroy(key.key_id()));
            if let Err(error) = undone {
                tracing::warn!(error = %error, "key made too late was not destroyed");
            }
        };
        let made = self.line.ask(move || store.create(), late)?;
        Ok(self.key(made))
    }

    /// No device is asked: see [`KeyStore::load`].
    fn load(&self, key_id: &str, spki: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        Ok(self.key(self.store.load(key_id, spki)?))
    }

    fn holds(&self, key_id: &str, spki: &[u8]) -> Result<bool, KeyError> {
        let (store, key_id, spki) = (self.store.clone(), key_id.to_owned(), spki.to_vec());
        self.line.ask(move || store.holds(&key_id, &spki), drop)
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        let (store, key_id) = (self.store.clone(), key_id.to_owned());
        self.line.ask(move || store.destroy(&key_id), drop)
    }

    fn condition(&self) -> Condition {
        if self.line.calls.is_hung() {
            return self.line.hung();
        }
        self.store.condition()
    }

    fn probe(&self) {
        let store = self.store.clone();
        self.line.calls.look(move || store.probe());
        self.line.tell();
    }
}

struct PatientKey {
    key: Arc<dyn CaKey>,
    line: Arc<Line>,
}

impl CaKey for PatientKey {
    fn key_id(&self) -> &str {
        self.key.key_id()
    }

    fn spki(&self) -> &[u8] {
        self.key.spki()
    }

    fn ready(&self) -> Result<(), KeyError> {
        let admitted = self.line.calls.admits();
        admitted.map_err(|refused| self.line.not_ready(refused))?;
        self.key.ready()
    }

    fn sign(&self, message: &ToBeSigned) -> Result<Vec<u8>, KeyError> {
        let (key, message) = (self.key.clone(), message.clone());
        self.line.ask(move || key.sign(&message), drop)
    }
}

impl fmt::Debug for PatientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl Line {
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
        late: impl FnOnce(Result<T, KeyError>) + Send + 'static,
    ) -> Result<T, KeyError> {
        let answer = self.calls.run(question, late);
        answer.unwrap_or_else(|refused| {
            self.tell();
            Err(self.not_ready(refused))
        })
    }

    fn not_ready(&self, refused: Refused) -> KeyError {
        let condition = match refused {
            Refused::Hung => self.hung(),
            Refused::Full => Condition::new(StoreState::Failed, "too many callers wait for it"),
            Refused::Broken => Condition::new(StoreState::Failed, "the call broke off"),
        };
        let store = self.kind;
        KeyError::NotReady { store, condition }
    }

    fn hung(&self) -> Condition {
        let deadline = self.calls.bounds().deadline;
        let reason = format!(
            "a call of the module has not returned within {} s",
            deadline.as_secs()
        );
        Condition::new(StoreState::Hung, reason)
    }

    /// Tells the log, once, that the store hangs, and that it does so no more.
    fn tell(&self) {
        let is_hung = self.calls.is_hung();
        if self.is_told.swap(is_hung, Ordering::Relaxed) == is_hung {
            return;
        }
        let store = self.kind.as_str();
        if is_hung {
            let Condition { state, reason } = self.hung();
            let state = state.as_str();
            tracing::warn!(store, state, reason, "key store changed its state");
        } else {
            tracing::info!(store, "key store answers again");
        }
    }
}

#[cfg(test)]
mod tests;
