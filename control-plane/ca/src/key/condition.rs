//! Whether a key store can be used, in states that an operator can act on.

use std::fmt;

/// The state of a key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It signs.
    Ready,
    /// The token refused the PIN. It is not tried again before the PIN file changes: a token
    /// locks itself after a few wrong ones.
    WrongPin,
    /// No token with the configured label is there.
    TokenAbsent,
    /// Several tokens with the configured label are there, and no serial number says which.
    TokenAmbiguous,
    /// The PKCS#11 module cannot be loaded.
    ModuleMissing,
    /// A call of the module has not returned. Nothing new is asked of it until it answers.
    Hung,
    /// Anything else; the reason says what.
    Failed,
}

impl StoreState {
    /// Every state, so that each has its series.
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::WrongPin,
        Self::TokenAbsent,
        Self::TokenAmbiguous,
        Self::ModuleMissing,
        Self::Hung,
        Self::Failed,
    ];

    /// Its name in metrics, logs and `ca status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::WrongPin => "wrong_pin",
            Self::TokenAbsent => "token_absent",
            Self::TokenAmbiguous => "token_ambiguous",
            Self::ModuleMissing => "module_missing",
            Self::Hung => "hung",
            Self::Failed => "failed",
        }
    }
}

/// A state and its reason, for people; a reason never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The state.
    pub state: StoreState,
    /// Why; empty when ready.
    pub reason: String,
}

impl Condition {
    /// Nothing is wrong.
    pub fn ready() -> Self {
        Self::new(StoreState::Ready, "")
    }

    /// A state and why.
    pub fn new(state: StoreState, reason: impl Into<String>) -> Self {
        Self {
            state,
            reason: reason.into(),
        }
    }

    /// Whether the store signs.
    pub fn is_ready(&self) -> bool {
        self.state == StoreState::Ready
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.state.as_str())?;
        if self.reason.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.reason)
    }
}
