//! How many streams may be open on the local socket, by whom their callers are counted for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_serve::limits::CALLS_OF_USERS;
use countersign_serve::places::Holder;
use tonic::Status;

/// Most open streams of one uid, or of all that one gid or program admits, over all connections and both
/// services: two Envoys with a stream for each of a thousand secrets, and more.
pub(crate) const MAX_STREAMS_PER_UID: usize = 2_560;
// A user has room for other calls beside its streams.
const _: () = assert!(MAX_STREAMS_PER_UID + 256 <= CALLS_OF_USERS.of_one());
/// Most open streams of one uid that wait for an identity which nobody has given it. An Envoy opens a
/// stream for each secret; one that starts before it is registered has its first ones here, and
/// opens the others again and again until it is.
pub(crate) const MAX_STREAMS_WITHOUT_IDENTITY: usize = 64;

/// Counts open streams by holder.
#[derive(Debug, Default)]
pub(crate) struct StreamQuota(Mutex<HashMap<Holder, StreamCounts>>);

/// There are too many streams of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// All streams, with an identity and without.
    #[error("too many streams of one user")]
    Streams,
    /// Streams without an identity.
    #[error("too many streams of a user without identity")]
    WithoutIdentity,
}

impl From<TooMany> for Status {
    fn from(too_many: TooMany) -> Self {
        Self::resource_exhausted(too_many.to_string())
    }
}

/// The open streams of one holder.
#[derive(Clone, Copy, Debug, Default)]
struct StreamCounts {
    all: usize,
    without_identity: usize,
}

impl StreamQuota {
    /// A place for one more stream.
    ///
    /// # Errors
    /// Its holder has as many as it may.
    pub(crate) fn admit(
        self: &Arc<Self>,
        holder: Holder,
        has_identity: bool,
    ) -> Result<StreamPermit, TooMany> {
        let mut holders = self.lock();
        let mut open = holders.get(&holder).copied().unwrap_or_default();
        open.all += 1;
        open.without_identity += usize::from(!has_identity);
        if open.all > MAX_STREAMS_PER_UID {
            return Err(TooMany::Streams);
        }
        if open.without_identity > MAX_STREAMS_WITHOUT_IDENTITY {
            return Err(TooMany::WithoutIdentity);
        }
        holders.insert(holder.clone(), open);
        Ok(StreamPermit {
            quota: self.clone(),
            holder,
            has_identity,
        })
    }

    fn give_back(&self, holder: &Holder, has_identity: bool) {
        let mut holders = self.lock();
        if let Some(open) = holders.get_mut(holder) {
            open.all -= 1;
            open.without_identity -= usize::from(!has_identity);
            if open.all == 0 {
                holders.remove(holder);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, StreamCounts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    quota: Arc<StreamQuota>,
    holder: Holder,
    has_identity: bool,
}

impl StreamPermit {
    /// Its caller has an identity now, and is counted for this holder; whether it had none.
    ///
    /// # Errors
    /// That holder has as many as it may.
    pub(crate) fn admit_as(&mut self, holder: &Holder) -> Result<bool, TooMany> {
        let is_new = !self.has_identity;
        if is_new || self.holder != *holder {
            *self = self.quota.admit(holder.clone(), true)?;
        }
        Ok(is_new)
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.quota.give_back(&self.holder, self.has_identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Holder = Holder::Uid(1);

    fn fill(quota: &Arc<StreamQuota>, has_identity: bool, most: usize) -> Vec<StreamPermit> {
        let held = std::iter::from_fn(|| quota.admit(USER, has_identity).ok());
        let held: Vec<_> = held.collect();
        assert_eq!(held.len(), most);
        held
    }

    #[test]
    fn one_user_cannot_take_anothers_place() {
        let quota = Arc::new(StreamQuota::default());
        let mut held = fill(&quota, true, MAX_STREAMS_PER_UID);
        assert!(quota.admit(Holder::Uid(2), true).is_ok());
        held.pop();
        assert!(quota.admit(USER, true).is_ok());
        held.clear();
        assert!(quota.lock().is_empty());
    }

    #[test]
    fn who_has_no_identity_gets_few_streams() {
        let quota = Arc::new(StreamQuota::default());
        let mut waiting = fill(&quota, false, MAX_STREAMS_WITHOUT_IDENTITY);
        assert!(
            quota.admit(USER, true).is_ok(),
            "a process of the same user"
        );
        assert_eq!(waiting[0].admit_as(&USER), Ok(true));
        assert_eq!(waiting[0].admit_as(&USER), Ok(false), "only once");
        let next = quota.admit(USER, false);
        assert!(next.is_ok() && quota.admit(USER, false).is_err());
        drop((waiting, next));
        assert!(quota.lock().is_empty());
    }

    #[test]
    fn streams_move_to_what_admits_their_callers() {
        let quota = Arc::new(StreamQuota::default());
        let strangers = (1..).map(|uid| quota.admit(Holder::Stranger(uid), true).unwrap());
        let mut strangers: Vec<_> = strangers.take(MAX_STREAMS_PER_UID + 1).collect();
        let gid = Holder::Gid(7);
        let admitted = strangers.iter_mut().map(|it| it.admit_as(&gid));
        let refused = admitted.filter(|it| *it == Err(TooMany::Streams));
        assert_eq!(refused.count(), 1, "all uids of a gid share");
        assert!(quota.admit(USER, true).is_ok());
        drop(strangers);
        assert!(quota.lock().is_empty());
    }
}
