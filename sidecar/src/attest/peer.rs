//! The other end of a connection on the local socket.
//!
//! A pid is used again, a pid with its start time is not. The start time is read as soon as the
//! connection is accepted. The window that remains is the one between the caller's `connect` and
//! that moment: a process that connects, ends, and has its pid taken by another of the *same*
//! uid within it is taken for that other one (the uid itself is the kernel's record of `connect`).

use std::sync::Arc;

use countersign_serve::unix::UnixPeer;

use super::caller::Admitted;
use super::selectors::Process;

/// Who opened a connection.
#[derive(Clone, Debug)]
pub(crate) struct LocalPeer {
    /// The ids that the kernel recorded at `connect`.
    pub(crate) peer: UnixPeer,
    /// The process of that pid at `accept`; `None` where it was gone already.
    pub(crate) process: Option<Process>,
    /// What its calls are admitted to.
    pub(crate) admitted: Arc<Admitted>,
}

impl LocalPeer {
    /// The process that has the peer's pid now.
    pub(crate) fn now(peer: UnixPeer) -> Self {
        let process = peer.pid.and_then(|pid| Process::of(pid).ok());
        Self {
            peer,
            process,
            admitted: Arc::default(),
        }
    }
}
