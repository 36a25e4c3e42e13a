//! Whether the process at the local end of a connection may use the identity that is lent to it.
//!
//! A loopback port is open to every process of its network namespace. The kernel knows which uid
//! holds the other end of *this* connection, and that uid must satisfy the identity's selectors.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::identity::Presented;
use crate::attest::OtherEnd;
use crate::attest::socket_owner::{DiagnosticsError, Listener, other_end};

/// A workload accepts a connection in this time, or it is given up: as long as most clients wait.
pub(super) const ACCEPT_DEADLINE: Duration = Duration::from_secs(60);
/// The first pause between two looks whether the workload has accepted; each doubles the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

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
    /// The workload left the connection in its accept queue.
    #[error("the workload has not accepted the connection within {} s", ACCEPT_DEADLINE.as_secs())]
    NotAccepted,
    /// Another listener took the workload's place while we connected.
    #[error("the listener of the workload was replaced while connecting")]
    Replaced,
    /// The kernel did not say who owns it.
    #[error("the owner of the local socket is unknown: {0}")]
    Unknown(#[from] DiagnosticsError),
}

impl CallerRefused {
    /// A word for metric labels.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Uid(_) => "uid_not_admitted",
            Self::Nobody => "no_local_owner",
            Self::NotAccepted => "workload_not_accepting",
            Self::Replaced => "workload_replaced",
            Self::Unknown(_) => "local_owner_unknown",
        }
    }
}

/// Who takes a connection that we made to the workload.
#[derive(Debug)]
pub(super) enum Taken {
    /// A process that the identity is lent to has accepted it.
    Accepted,
    /// Its listener wants bytes before it accepts.
    Deferred,
}

/// Admits the process that connected to us.
pub(super) async fn admit_caller(
    accepted: &TcpStream,
    presented: &Presented,
) -> Result<(), CallerRefused> {
    match other_end(accepted).await? {
        OtherEnd::Held { uid } => judge(uid, presented),
        OtherEnd::Queued | OtherEnd::Deferred | OtherEnd::Nobody => Err(CallerRefused::Nobody),
    }
}

/// Admits the process that accepts a connection of ours, and waits until it does.
pub(super) async fn admit_workload(
    made: &TcpStream,
    presented: &Presented,
) -> Result<Taken, CallerRefused> {
    let deadline = Instant::now() + ACCEPT_DEADLINE;
    let mut pause = FIRST_PAUSE;
    loop {
        match other_end(made).await? {
            OtherEnd::Held { uid } => return judge(uid, presented).map(|()| Taken::Accepted),
            OtherEnd::Deferred => return Ok(Taken::Deferred),
            OtherEnd::Nobody => return Err(CallerRefused::Nobody),
            OtherEnd::Queued if Instant::now() >= deadline => {
                return Err(CallerRefused::NotAccepted);
            }
            OtherEnd::Queued => {}
        }
        // The kernel wakes nobody when the other end is accepted.
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Admits the process that made a listener.
pub(super) fn admit_listener(
    listener: Option<Listener>,
    presented: &Presented,
) -> Result<Listener, CallerRefused> {
    let listener = listener.ok_or(CallerRefused::Nobody)?;
    judge(listener.uid, presented)?;
    Ok(listener)
}

fn judge(uid: u32, presented: &Presented) -> Result<(), CallerRefused> {
    if presented.admits(uid) {
        Ok(())
    } else {
        Err(CallerRefused::Uid(uid))
    }
}
