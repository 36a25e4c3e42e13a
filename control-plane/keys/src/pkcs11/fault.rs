//! What can go wrong with a token, sorted by what has to be done about it.

use cryptoki::error::{Error, RvError};

use crate::Condition;

/// Why a call came to nothing. Texts are the module's name for it and never hold a PIN.
#[derive(Debug)]
pub(super) enum Fault {
    /// The module cannot be loaded.
    ModuleMissing(String),
    /// No token with our label.
    TokenAbsent(String),
    /// Several tokens with our label.
    TokenAmbiguous(String),
    /// The token refused the PIN.
    WrongPin(String),
    /// The device or module failed.
    Device(String),
    /// The token works and holds no such key.
    KeyGone,
    /// The session is of a module that was started anew since.
    Stale,
    /// The token was not ready before the call: nothing was tried.
    NotReady(Condition),
}

impl Fault {
    /// Whether a new connection may help.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::TokenAbsent(_) | Self::Device(_) | Self::Stale)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::LibraryLoading(_) | Error::MissingSymbol(_) | Error::NullFunctionPointer => {
                Self::ModuleMissing(reason)
            }
            Error::Pkcs11(value, _) => of_return_value(value, reason),
            _ => Self::Device(reason),
        }
    }
}

fn of_return_value(value: RvError, reason: String) -> Fault {
    match value {
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinExpired
        | RvError::PinLocked => Fault::WrongPin(reason),
        RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::DeviceRemoved
        | RvError::SlotIdInvalid => Fault::TokenAbsent(reason),
        _ => Fault::Device(reason),
    }
}
