//! Which keys no caller may have certified, kept as our own keys come and go.
//!
//! Asked for every certificate, changed a few times a day: a picture that is replaced whole.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tracing::info;

use countersign_issue::key::block_list::{BlockList, BlockListError};
use countersign_issue::key::key_id;
use countersign_issue::key::refused::RefusedKeys;

/// Keys of the control plane's own listener that are remembered: it serves one, and renews it long
/// before its end.
const SERVER_KEYS: usize = 16;

/// Our own keys and the operator's list.
#[derive(Debug, Default)]
pub(super) struct Refused {
    own: Mutex<Own>,
    keys: ArcSwap<RefusedKeys>,
}

#[derive(Debug, Default)]
struct Own {
    cas: Vec<String>,
    servers: VecDeque<String>,
}

impl Refused {
    /// Reads the operator's list, where there is one.
    pub(super) fn load(blocked_keys: Option<&Path>) -> Result<Self, BlockListError> {
        let Some(file) = blocked_keys else {
            return Ok(Self::default());
        };
        let blocked = BlockList::load(file)?;
        info!(keys = blocked.count(), "blocked keys read");
        Ok(Self {
            own: Mutex::default(),
            keys: ArcSwap::from_pointee(RefusedKeys::new(blocked)),
        })
    }

    /// What is refused now.
    pub(super) fn keys(&self) -> Arc<RefusedKeys> {
        self.keys.load_full()
    }

    /// These are all our CAs.
    pub(super) fn note_cas(&self, key_ids: Vec<String>) {
        self.change(|own| own.cas = key_ids);
    }

    /// The control plane itself is about to use this key.
    pub(super) fn note_server(&self, spki: &[u8]) {
        self.change(|own| {
            own.servers.push_back(key_id(spki));
            if own.servers.len() > SERVER_KEYS {
                own.servers.pop_front();
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Own)) {
        // One change at a time, so that none is lost between reading and replacing.
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut own);
        let ours = own.cas.iter().chain(&own.servers).map(String::as_str);
        self.keys.store(Arc::new(self.keys.load().with_ours(ours)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_of_the_listener_are_bounded() {
        let refused = Refused::default();
        (0..=SERVER_KEYS).for_each(|n| refused.note_server(&n.to_be_bytes()));
        let own = refused.own.lock().unwrap();
        assert_eq!(own.servers.len(), SERVER_KEYS);
        assert_eq!(
            own.servers[0],
            key_id(&1_usize.to_be_bytes()),
            "the oldest went"
        );
    }
}
