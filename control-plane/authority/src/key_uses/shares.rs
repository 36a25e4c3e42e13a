//! How many keys each holder has, so that none takes the table of all.
//!
//! A holder is one entitlement of one node, or one identity that is signed by hand. What a node can
//! take is then its share times its entitlements, however it asks. A table of keys changes only
//! together with these counts, so they cannot part from what it holds.

use std::collections::HashMap;

use countersign_model::tables::give_back;
use sha2::{Digest, Sha256};

use super::KeyUse;
use crate::AuthorityError;

/// Most keys of one holder that are certified, being certified or void at once: one each second
/// for an hour and more. A sidecar that renews in time has two. The counts of a million holders
/// take 2^21 places of 21 bytes, 44 MB.
const MAX_KEYS_OF_ONE: u32 = 4_096;

/// A node, or nobody where it is signed by hand, and the entitlement: a hash of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Holder([u8; 16]);

impl Holder {
    /// An empty node is nobody.
    pub(crate) fn of(node: &str, entitlement: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [node, entitlement] {
            hash.update(part);
            hash.update([0]);
        }
        let hash = hash.finalize();
        Self(std::array::from_fn(|place| hash[place]))
    }
}

/// How many keys each holder has; one that has none is not listed.
#[derive(Debug)]
pub(crate) struct Shares {
    held: HashMap<Holder, u32>,
    /// See [`MAX_KEYS_OF_ONE`].
    most: u32,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            held: HashMap::new(),
            most: MAX_KEYS_OF_ONE,
        }
    }
}

impl Shares {
    /// Whether a holder may have one more key.
    ///
    /// # Errors
    /// It has its share.
    pub(crate) fn check(&self, holder: &Holder) -> Result<(), AuthorityError> {
        let held = self.held.get(holder).copied().unwrap_or_default();
        if held >= self.most {
            return Err(AuthorityError::KeyShareTaken { most: self.most });
        }
        Ok(())
    }

    /// What a start finds in the log is counted beyond the share as well.
    fn add(&mut self, holder: Holder) {
        *self.held.entry(holder).or_default() += 1;
    }

    fn subtract(&mut self, holder: Holder) {
        let Some(held) = self.held.get_mut(&holder) else {
            return;
        };
        *held -= 1;
        if *held == 0 {
            self.held.remove(&holder);
        }
    }

    /// Gives back the room that is no longer needed.
    pub(crate) fn give_back(&mut self) {
        give_back(&mut self.held);
    }

    /// Takes another bound than [`MAX_KEYS_OF_ONE`].
    #[cfg(test)]
    pub(crate) fn take_at_most(&mut self, most: u32) {
        self.most = most;
    }

    /// How many keys each holder has.
    #[cfg(test)]
    pub(crate) fn held(&self) -> &HashMap<Holder, u32> {
        &self.held
    }
}

/// Keys and what each is used for, by SHA-256 of the SubjectPublicKeyInfo.
#[derive(Debug, Default)]
pub(crate) struct KeyTable(HashMap<[u8; 32], KeyUse>);

impl KeyTable {
    pub(crate) fn get(&self, spki_sha256: &[u8; 32]) -> Option<&KeyUse> {
        self.0.get(spki_sha256)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &KeyUse> {
        self.0.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts a key in the place of what it was used for before.
    pub(crate) fn insert(&mut self, spki_sha256: [u8; 32], used: KeyUse, shares: &mut Shares) {
        shares.add(used.holder());
        if let Some(before) = self.0.insert(spki_sha256, used) {
            shares.subtract(before.holder());
        }
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, spki_sha256: &[u8; 32], shares: &mut Shares) -> Option<KeyUse> {
        let gone = self.0.remove(spki_sha256)?;
        shares.subtract(gone.holder());
        Some(gone)
    }

    /// Takes out what is not left, and gives the room back.
    pub(crate) fn retain(&mut self, is_left: impl Fn(&KeyUse) -> bool, shares: &mut Shares) {
        self.0.retain(|_, used| {
            let stays = is_left(used);
            if !stays {
                shares.subtract(used.holder());
            }
            stays
        });
        give_back(&mut self.0);
    }

    /// For how many keys there is room.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }
}
