//! How many streams one user may hold open on the local socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_serve::limits::CALLS_OF_USERS;
use countersign_serve::messages::Charge;
use countersign_serve::places::Standing;
use countersign_serve::unix::UserPlace;

/// Most open streams of one uid, over all connections and both services: two Envoys with a stream for
/// each of a thousand secrets, and more. A stream takes about 7 kB, and 8 KiB more while its caller
/// reads nothing.
pub const MAX_STREAMS_PER_UID: usize = 2_560;
// Beside its streams a user has room for other calls.
const _: () = assert!(MAX_STREAMS_PER_UID + 256 <= CALLS_OF_USERS.of_one());
/// Most open streams of one uid that wait for an identity which nobody has given it. An Envoy opens a
/// stream for each secret; one that starts before it is registered has its first ones here, and
/// opens the others again and again until it is.
pub const MAX_STREAMS_WITHOUT_IDENTITY: usize = 64;
/// What an open stream takes, at most. Users without an identity pay for it together.
pub const STREAM_BYTES: usize = 16 * 1024;

/// Counts open streams by uid.
#[derive(Debug, Default)]
pub struct StreamQuota(Mutex<HashMap<u32, Open>>);

/// The open streams of one uid.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    all: usize,
    without_identity: usize,
}

impl StreamQuota {
    /// A place for one more stream, or `None` where its user has as many as it may.
    pub fn admit(self: &Arc<Self>, uid: u32, has_identity: bool) -> Option<StreamPermit> {
        let mut users = self.lock();
        let mut open = users.get(&uid).copied().unwrap_or_default();
        open.all += 1;
        open.without_identity += usize::from(!has_identity);
        if open.all > MAX_STREAMS_PER_UID || open.without_identity > MAX_STREAMS_WITHOUT_IDENTITY {
            return None;
        }
        users.insert(uid, open);
        Some(StreamPermit {
            quota: self.clone(),
            uid,
            has_identity,
            stranger: None,
        })
    }

    fn change(&self, uid: u32, change: impl FnOnce(&mut Open)) {
        let mut users = self.lock();
        if let Some(open) = users.get_mut(&uid) {
            change(open);
            if open.all == 0 {
                users.remove(&uid);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub struct StreamPermit {
    quota: Arc<StreamQuota>,
    uid: u32,
    has_identity: bool,
    /// What it costs, where its connection has a stranger's place.
    stranger: Option<Charge>,
}

impl StreamPermit {
    /// The same of a stranger, who pays for the stream itself as well.
    pub(super) fn paid(mut self, charge: Charge) -> Self {
        self.stranger = Some(charge);
        self
    }

    /// Its connection has this place now; whether that is no stranger's any more, so that others have
    /// to pay for what the stream holds.
    pub fn settle(&mut self, place: &UserPlace) -> bool {
        let is_free = place.standing() == Standing::Recognised && self.stranger.is_some();
        if is_free {
            self.stranger = None;
        }
        is_free
    }

    /// Its caller has an identity now; whether it had none.
    pub fn has_identity(&mut self) -> bool {
        let is_new = !std::mem::replace(&mut self.has_identity, true);
        if is_new {
            self.quota
                .change(self.uid, |open| open.without_identity -= 1);
        }
        is_new
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let without_identity = usize::from(!self.has_identity);
        self.quota.change(self.uid, |open| {
            open.all -= 1;
            open.without_identity -= without_identity;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(quota: &Arc<StreamQuota>, has_identity: bool, most: usize) -> Vec<StreamPermit> {
        let held: Vec<_> = std::iter::from_fn(|| quota.admit(1, has_identity)).collect();
        assert_eq!(held.len(), most);
        held
    }

    #[test]
    fn one_user_cannot_take_anothers_place() {
        let quota = Arc::new(StreamQuota::default());
        let mut held = fill(&quota, true, MAX_STREAMS_PER_UID);
        assert!(quota.admit(2, true).is_some());
        held.pop();
        assert!(quota.admit(1, true).is_some());
        held.clear();
        assert!(quota.lock().is_empty());
    }

    #[test]
    fn who_has_no_identity_gets_few_streams() {
        let quota = Arc::new(StreamQuota::default());
        let mut waiting = fill(&quota, false, MAX_STREAMS_WITHOUT_IDENTITY);
        assert!(quota.admit(1, true).is_some(), "a process of the same user");
        assert!(waiting[0].has_identity());
        assert!(!waiting[0].has_identity(), "only once");
        let next = quota.admit(1, false);
        assert!(next.is_some() && quota.admit(1, false).is_none());
        drop((waiting, next));
        assert!(quota.lock().is_empty());
    }
}
