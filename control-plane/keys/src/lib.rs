//! Key stores: where CA keys are made, kept and used.
//!
//! Disk and memory hold keys in this process, PKCS#11 in a hardware token, which is asked through
//! [`DeadlineKeyStore`] alone: it may never answer. [`Stores`] are those that the configuration describes.

mod calls;
mod deadline;
mod disk;
mod memory;
mod pkcs11;
mod series;
mod software;
mod stores;

use std::path::PathBuf;

use countersign_ca::key::{
    CaKey, Condition, KeyError, KeyStore, StoreKind, StoreState, ToBeSigned,
};
use serde::Serialize;

pub use calls::Bounds;
pub use deadline::DeadlineKeyStore;
pub use disk::DiskKeys;
#[cfg(any(test, feature = "testing"))]
pub use pkcs11::testing;
pub use stores::Stores;

/// The key id of a private key (PKCS#8, DER); `None` where it is none that this process could use.
pub fn key_id_of_private(pkcs8: &[u8]) -> Option<String> {
    let key = software::SoftwareKey::from_pkcs8(pkcs8).ok()?;
    Some(key.key_id().to_owned())
}

/// Where a PKCS#11 token is found. Holds the path of the PIN, never the PIN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pkcs11Settings {
    /// The module, a shared library that is loaded into this process.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// Its serial number: tells tokens of one label apart.
    pub serial: Option<String>,
    /// File with the user PIN, owner-only.
    pub pin_file: PathBuf,
}

#[cfg(test)]
mod tests;
