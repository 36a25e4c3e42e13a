//! Live and voided keys per holder, so that no holder takes the whole table.
//!
//! A holder is one entitlement of one node, or one identity that an operator has signed. So a node
//! can take its share times the number of its entitlements, however it asks. A table of keys changes
//! only together with these counts, so that the counts are always those of the table.

use std::collections::HashMap;

use countersign_model::tables::give_back;
use sha2::{Digest, Sha256};

use super::key_use::KeyUse;
use crate::AuthorityError;

/// Most keys of one holder that are certified, being certified or void at once: one a second for
/// more than an hour. A sidecar that renews in time has two. The counts of a million holders take
/// 2^21 places of 21 bytes, 44 MB.
const MAX_KEYS_OF_ONE: u32 = 4_096;

/// A holder: a hash over its node, which is empty where no node holds the key, and its entitlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HolderId([u8; 16]);

impl HolderId {
    /// The holder of an entitlement. The node is empty where no node holds the key.
    pub(super) fn of(node: &str, entitlement: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [node, entitlement] {
            hash.update(part);
            hash.update([0]);
        }
        let hash = hash.finalize();
        Self(std::array::from_fn(|place| hash[place]))
    }
}

/// Number of keys per holder; a holder without keys is not listed.
#[derive(Debug)]
pub(super) struct Shares {
    held: HashMap<HolderId, u32>,
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
    /// Its share is full.
    pub(super) fn check(&self, holder: &HolderId) -> Result<(), AuthorityError> {
        let held = self.held.get(holder).copied().unwrap_or_default();
        if held >= self.most {
            return Err(AuthorityError::KeyShareTaken { most: self.most });
        }
        Ok(())
    }

    /// Counts one key more, beyond the share as well: a start takes in what it finds in the log.
    fn add(&mut self, holder: HolderId) {
        *self.held.entry(holder).or_default() += 1;
    }

    fn subtract(&mut self, holder: HolderId) {
        let Some(held) = self.held.get_mut(&holder) else {
            return;
        };
        *held -= 1;
        if *held == 0 {
            self.held.remove(&holder);
        }
    }

    /// Gives memory back that is no longer needed.
    pub(super) fn give_back(&mut self) {
        give_back(&mut self.held);
    }

    /// Takes another bound than [`MAX_KEYS_OF_ONE`].
    #[cfg(test)]
    pub(super) fn take_at_most(&mut self, most: u32) {
        self.most = most;
    }

    /// Number of keys per holder.
    #[cfg(test)]
    pub(super) fn held(&self) -> &HashMap<HolderId, u32> {
        &self.held
    }
}

/// Keys and the use of each, by SHA-256 of the SubjectPublicKeyInfo.
#[derive(Debug, Default)]
pub(super) struct KeyTable(HashMap<[u8; 32], KeyUse>);

impl KeyTable {
    pub(super) fn get(&self, spki_sha256: &[u8; 32]) -> Option<&KeyUse> {
        self.0.get(spki_sha256)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &KeyUse> {
        self.0.values()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sets the use of a key, in place of its use before.
    pub(super) fn insert(&mut self, spki_sha256: [u8; 32], used: KeyUse, shares: &mut Shares) {
        shares.add(used.holder());
        if let Some(before) = self.0.insert(spki_sha256, used) {
            shares.subtract(before.holder());
        }
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, spki_sha256: &[u8; 32], shares: &mut Shares) -> Option<KeyUse> {
        let gone = self.0.remove(spki_sha256)?;
        shares.subtract(gone.holder());
        Some(gone)
    }

    /// Removes every key whose use `is_left` refuses, and gives memory back.
    pub(super) fn retain(&mut self, is_left: impl Fn(&KeyUse) -> bool, shares: &mut Shares) {
        self.0.retain(|_, used| {
            let stays = is_left(used);
            if !stays {
                shares.subtract(used.holder());
            }
            stays
        });
        give_back(&mut self.0);
    }

    /// Number of places in the table.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }
}
