//! How many consumers a user and a process may have open at once, so that none takes all of the node's. A
//! user is here whom its callers are counted for.

use std::sync::Arc;

use countersign_serve::places::{Bounds, Holder, Place, Places, Surplus};

use super::MAX_CONSUMERS;

/// Most of them that are open at once of one uid, or of all that one gid or program admits: an Envoy with 1 000 secrets of another finds room.
pub(crate) const MAX_CONSUMERS_PER_UID: usize = 2_560;
/// Most of them that are open at once of one process: an Envoy with 1 000 secrets and their contexts.
pub(crate) const MAX_CONSUMERS_PER_PROCESS: usize = 1_536;

/// Whose a consumer is.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// Whom its caller is counted for.
    pub(crate) holder: Holder,
    /// The process, by a name that no other has.
    pub(crate) process: Arc<str>,
}

/// Why a consumer is not taken in. It must not be served: a root rotation would not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// Its process has its share.
    #[error("this process has too many consumers")]
    Process,
    /// Whom it is counted for has its share.
    #[error("this user has too many consumers")]
    User,
    /// There are as many as a node can report.
    #[error("too many consumers on this node")]
    Record,
}

/// The places of every user and process that has consumers open.
#[derive(Debug)]
pub(super) struct Shares {
    users: Places,
    processes: Places,
}

/// One open consumer's places, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    _user: Place,
    _process: Place,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            users: places(MAX_CONSUMERS_PER_UID),
            processes: places(MAX_CONSUMERS_PER_PROCESS),
        }
    }
}

impl Shares {
    /// The places of a consumer whose first stream comes.
    pub(super) fn take(&self, owner: &Owner) -> Result<Share, Full> {
        let process = self.processes.take(Holder::Process(owner.process.clone()));
        let user = self.users.take(owner.holder.clone());
        Ok(Share {
            _process: process.ok_or(Full::Process)?,
            _user: user.ok_or(Full::User)?,
        })
    }
}

fn places(each: usize) -> Places {
    Places::new(Bounds {
        total: MAX_CONSUMERS,
        each,
        surplus: Surplus::Refused,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{ConsumerKind, ConsumerStream, Consumers};
    use super::*;

    fn owner(uid: u32, process: &str) -> Owner {
        Owner {
            holder: Holder::Uid(uid),
            process: process.into(),
        }
    }

    /// As many as the process gets, up to a bound.
    fn take(consumers: &Arc<Consumers>, owner: &Owner, most: usize) -> (Vec<ConsumerStream>, Full) {
        let mut open = Vec::new();
        for number in 0..most {
            let id = format!("{:?}:{}:{number}", owner.holder, owner.process);
            match consumers.connect(owner, &id, ConsumerKind::Envoy, None) {
                Ok(connection) => open.push(connection),
                Err(full) => return (open, full),
            }
        }
        (open, Full::Record)
    }

    /// An Envoy with 1 000 secrets.
    const ENVOY: usize = 1_001;

    #[test]
    fn one_process_leaves_its_user_some_consumers() {
        let consumers = Arc::new(Consumers::default());
        let (greedy, full) = take(&consumers, &owner(1, "greedy"), MAX_CONSUMERS);
        assert_eq!(
            (greedy.len(), full),
            (MAX_CONSUMERS_PER_PROCESS, Full::Process)
        );
        let (envoy, _) = take(&consumers, &owner(1, "envoy"), ENVOY);
        assert_eq!(envoy.len(), ENVOY);
    }

    #[test]
    fn one_user_leaves_others_some_consumers() {
        let consumers = Arc::new(Consumers::default());
        let mut greedy = Vec::new();
        let full = (0..MAX_CONSUMERS).find_map(|process| {
            let (open, _) = take(&consumers, &owner(1, &process.to_string()), 1);
            let is_full = open.is_empty();
            greedy.extend(open);
            is_full.then_some(greedy.len())
        });
        assert_eq!(full, Some(MAX_CONSUMERS_PER_UID));
        let (envoy, _) = take(&consumers, &owner(2, "envoy"), ENVOY);
        assert_eq!(envoy.len(), ENVOY);
        drop(greedy);
        consumers.fold_disconnected();
        let (again, _) = take(&consumers, &owner(1, "again"), ENVOY);
        assert_eq!(again.len(), ENVOY, "places come back");
    }
}
