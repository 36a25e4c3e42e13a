//! Keys that no caller may have certified: those of our own CAs and of the control plane, and what
//! the operator blocked. An immutable picture, replaced whole, so that asking it costs a lookup.

use std::collections::HashSet;
use std::sync::Arc;

use super::block_list::BlockList;
use super::{KeyId, PublicKey};
use crate::Finding;
use crate::finding::require;

/// What is refused beside weak keys.
#[derive(Clone, Debug, Default)]
pub struct RefusedKeys {
    ours: HashSet<KeyId>,
    blocked: Arc<BlockList>,
}

impl RefusedKeys {
    /// With the operator's list; our own keys follow.
    pub fn new(blocked: BlockList) -> Self {
        Self {
            ours: HashSet::new(),
            blocked: Arc::new(blocked),
        }
    }

    /// The same list of the operator with these keys of ours, by key id in hex.
    pub fn with_ours<'a>(&self, key_ids: impl IntoIterator<Item = &'a str>) -> Self {
        let decoded = key_ids.into_iter().filter_map(|key_id| {
            let mut bytes = KeyId::default();
            hex::decode_to_slice(key_id, &mut bytes).ok()?;
            Some(bytes)
        });
        Self {
            ours: decoded.collect(),
            blocked: self.blocked.clone(),
        }
    }

    /// Refuses what may not be certified for a caller.
    pub fn check(&self, key: &PublicKey) -> Result<(), Finding> {
        require(
            !self.ours.contains(key.id()),
            "key_of_a_ca",
            "the key is that of a CA or of the control plane",
            "X509-SVID.md section 4.1",
        )?;
        require(
            !self.blocked.contains(key.sha256()),
            "key_blocked",
            "the operator has blocked this key",
            "svid.blocked_keys",
        )
    }
}
