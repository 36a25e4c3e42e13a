//! One issuance of an entitlement at a time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use countersign_model::{EntitlementId, SpiffeId};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// How many issuances may run at a time, at most: one for each stripe.
const STRIPES: usize = 1_024;

/// Locks by node and entitlement, so that one key is never certified twice at a time.
#[derive(Debug)]
pub(crate) struct Stripes(Vec<Arc<Mutex<()>>>);

/// While it is kept, nobody else has a certificate made for the same entitlement of the same node.
#[derive(Debug)]
pub(crate) struct OneAtATime(#[expect(dead_code, reason = "kept for its end")] OwnedMutexGuard<()>);

impl Default for Stripes {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Arc::default()).collect())
    }
}

impl Stripes {
    /// Waits until no certificate is made for the entitlement. Without a node where none holds it.
    pub(crate) async fn lock(
        &self,
        node: Option<&SpiffeId>,
        entitlement: &EntitlementId,
    ) -> OneAtATime {
        let mut hasher = DefaultHasher::new();
        (node, entitlement).hash(&mut hasher);
        let count = self.0.len() as u64;
        let stripe = usize::try_from(hasher.finish() % count).unwrap_or_default();
        OneAtATime(self.0[stripe].clone().lock_owned().await)
    }
}
