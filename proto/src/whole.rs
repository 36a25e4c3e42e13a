//! The usual request of a program that registers: everything that it knows, written whole.

use crate::admin::{RegisterMode, RegisterRequest, Registration};

impl RegisterRequest {
    /// Writes a registration over one with the same key, whole.
    pub fn whole(registration: Registration) -> Self {
        Self {
            registration: Some(registration),
            mode: RegisterMode::Replace.into(),
            ..Self::default()
        }
    }
}
