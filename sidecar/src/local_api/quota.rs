//! How many streams one user may hold open on the local socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most open streams of one uid, over all connections and both services.
pub const MAX_STREAMS_PER_UID: usize = 8_192;

/// Counts open streams by uid.
#[derive(Debug, Default)]
pub struct StreamQuota(Mutex<HashMap<u32, usize>>);

impl StreamQuota {
    /// A place for one more stream, or `None` at [`MAX_STREAMS_PER_UID`].
    pub fn admit(self: &Arc<Self>, uid: u32) -> Option<StreamPermit> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(uid).or_default();
        if *count >= MAX_STREAMS_PER_UID {
            return None;
        }
        *count += 1;
        Some(StreamPermit {
            quota: self.clone(),
            uid,
        })
    }

    fn release(&self, uid: u32) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&uid) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&uid);
            }
        }
    }
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub struct StreamPermit {
    quota: Arc<StreamQuota>,
    uid: u32,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.quota.release(self.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_anothers_place() {
        let quota = Arc::new(StreamQuota::default());
        let mut held: Vec<_> = (0..MAX_STREAMS_PER_UID)
            .map(|_| quota.admit(1).unwrap())
            .collect();
        assert!(quota.admit(1).is_none());
        assert!(quota.admit(2).is_some());
        held.pop();
        assert!(quota.admit(1).is_some());
        held.clear();
        assert!(quota.0.lock().unwrap().is_empty());
    }
}
