//! Whether the process at the local end of a connection may use the identity that is lent to it.
//!
//! A loopback port is open to every process of its network namespace. The kernel knows which uid
//! owns the socket at the other end, and that uid must satisfy the identity's selectors.

use std::net::SocketAddr;

use super::identity::Presented;
use crate::attest::socket_owner::{DiagnosticsError, owner_of_connection, owner_of_listener};

/// What to do about an identity whose selectors ask for more than the uid of a socket can show.
pub(crate) const UID_IS_NOT_ENOUGH: &str = "the uid of a socket alone cannot satisfy the \
     selectors of the identity, so every local process is refused: register it with one unix:uid \
     selector, or set attest_callers = \"netns\" where the network namespace is the workload's own";

/// The local end is not one that the identity is lent to.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallerRefused {
    /// Its uid does not satisfy the selectors.
    #[error("uid {0} does not satisfy the selectors of the identity")]
    Uid(u32),
    /// No process holds the socket.
    #[error("nobody on this machine owns the socket at the local end")]
    Nobody,
    /// The kernel did not say who owns it.
    #[error("the owner of the local socket is unknown: {0}")]
    Unknown(#[from] DiagnosticsError),
}

/// Admits the process that connected to us: `peer` is its end, `ours` is our end.
pub(super) async fn admit_caller(
    peer: SocketAddr,
    ours: SocketAddr,
    presented: &Presented,
) -> Result<(), CallerRefused> {
    judge(owner_of_connection(ours, peer).await?, presented)
}

/// Admits the process that listens where inbound traffic is forwarded.
pub(super) async fn admit_listener(
    address: SocketAddr,
    presented: &Presented,
) -> Result<(), CallerRefused> {
    judge(owner_of_listener(address).await?, presented)
}

fn judge(uid: Option<u32>, presented: &Presented) -> Result<(), CallerRefused> {
    match uid {
        Some(uid) if presented.admits(uid) => Ok(()),
        Some(uid) => Err(CallerRefused::Uid(uid)),
        None => Err(CallerRefused::Nobody),
    }
}
