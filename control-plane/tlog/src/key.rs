//! The Ed25519 key that signs checkpoints, and the text by which auditors know it (C2SP
//! signed-note): `name+key id+base64(0x01 ‖ public key)`.

use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::tree::digest;
use crate::{LogError, files};

/// Signature type of Ed25519.
const ED25519: u8 = 1;
/// Most bytes of the key file, PKCS#8.
const MAX_KEY_BYTES: u64 = 1024;

/// The key and its name.
#[derive(Debug)]
pub(crate) struct NoteKey {
    name: String,
    pair: Ed25519KeyPair,
}

impl NoteKey {
    /// Reads the key, or makes it where there is none.
    pub(crate) fn open(path: &Path, name: &str) -> Result<Self, LogError> {
        if !is_key_name(name) {
            let reason =
                format!("{name:?} cannot name a log: no spaces, no control characters, no plus");
            return Err(LogError::Foreign(reason));
        }
        let stored = files::read(path, MAX_KEY_BYTES).map_err(LogError::unreadable(path))?;
        let pkcs8 = match stored.map(Zeroizing::new) {
            Some(pkcs8) => pkcs8,
            None => create(path)?,
        };
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8)
            .map_err(|_| LogError::damaged(path, "is no Ed25519 key in PKCS#8"))?;
        Ok(Self {
            name: name.to_owned(),
            pair,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// First four bytes of SHA-256 of name, line feed and typed key.
    pub(crate) fn id(&self) -> [u8; 4] {
        let hash = digest(&[self.name.as_bytes(), b"\n", &self.typed()]);
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// The verifier key.
    pub(crate) fn verifier_key(&self) -> String {
        let id = u32::from_be_bytes(self.id());
        format!("{}+{id:08x}+{}", self.name, STANDARD.encode(self.typed()))
    }

    pub(crate) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(crate) fn sign(&self, text: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.pair.sign(text)
    }

    fn typed(&self) -> Vec<u8> {
        [&[ED25519], self.public()].concat()
    }
}

fn create(path: &Path) -> Result<Zeroizing<Vec<u8>>, LogError> {
    let made = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8());
    let made = made.map_err(|_| LogError::Refused("no key could be made".to_owned()))?;
    let pkcs8 = Zeroizing::new(made.as_ref().to_vec());
    files::write_atomically(path, &pkcs8)?;
    Ok(pkcs8)
}

/// C2SP signed-note: not empty, no spaces, no plus.
fn is_key_name(name: &str) -> bool {
    let unfit = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.chars().any(unfit)
}
