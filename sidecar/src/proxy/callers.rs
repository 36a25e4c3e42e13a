//! Whether the process at the local end of a connection may use the identity that is lent to it.
//!
//! A loopback port is open to every process of its network namespace. The kernel knows which uid
//! holds the other end of *this* connection, and that uid must satisfy the identity's selectors.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::identity::Presented;
use crate::attest::OtherEnd;
use crate::attest::socket_owner::{DiagnosticsError, Listener, other_end};

/// A workload accepts a connection in this time, or it is given up: as long as most clients wait.
pub(super) const ACCEPT_DEADLINE: Duration = Duration::from_secs(60);
/// The first pause between two looks whether the workload has accepted; each doubles the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A peer that has sent all it has to say, or has left, is waited for so long.
const SILENT_DEADLINE: Duration = Duration::from_secs(10);
/// Connections of one listener that wait for the workload to accept them, each with one question to
/// the kernel a second; one more is refused. A workload that lets so many wait is stuck.
pub(super) const MAX_WAITING: usize = 1_024;

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
    /// So many wait already.
    #[error("{MAX_WAITING} connections wait for the workload to accept them")]
    Crowded,
    /// The peer did not wait for the workload.
    #[error("the peer left before the workload accepted the connection")]
    PeerLeft,
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
            Self::NotAccepted | Self::Crowded => "workload_not_accepting",
            Self::PeerLeft => "peer_left",
            Self::Replaced => "workload_replaced",
            Self::Unknown(_) => "local_owner_unknown",
        }
    }
}

/// How far the workload has taken a connection that we made to it.
#[derive(Debug)]
pub(super) enum Acceptance {
    /// A process that the identity is lent to has accepted it.
    Accepted,
    /// Its listener wants bytes before it accepts.
    Deferred,
}

/// Admits the process that connected to us, by the kernel's word: its uid.
pub(super) fn admit_caller(
    caller: Result<OtherEnd, DiagnosticsError>,
    presented: &Presented,
) -> Result<u32, CallerRefused> {
    match caller? {
        OtherEnd::Held { uid } => judge(uid, presented).map(|()| uid),
        OtherEnd::Queued | OtherEnd::Deferred | OtherEnd::Nobody => Err(CallerRefused::Nobody),
    }
}

/// Admits the process that accepts a connection of ours, and waits until it does, for as long as
/// the peer is there and `waiting` has room.
pub(super) async fn admit_workload(
    made: &TcpStream,
    presented: &Presented,
    peer: &TcpStream,
    waiting: &Semaphore,
) -> Result<Acceptance, CallerRefused> {
    match look(made, presented).await? {
        Look::Known(acceptance) => Ok(acceptance),
        Look::Queued => {
            let _place = waiting.try_acquire().map_err(|_| CallerRefused::Crowded)?;
            wait(made, presented, peer).await
        }
    }
}

async fn wait(
    made: &TcpStream,
    presented: &Presented,
    peer: &TcpStream,
) -> Result<Acceptance, CallerRefused> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        // The kernel wakes nobody when the other end is accepted.
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        if let Look::Known(acceptance) = look(made, presented).await? {
            return Ok(acceptance);
        }
        match peer_of(peer) {
            Peer::Open if began.elapsed() < ACCEPT_DEADLINE => {}
            Peer::Silent if began.elapsed() < SILENT_DEADLINE => {}
            Peer::Open => return Err(CallerRefused::NotAccepted),
            Peer::Silent | Peer::Gone => return Err(CallerRefused::PeerLeft),
        }
    }
}

enum Look {
    Known(Acceptance),
    Queued,
}

async fn look(made: &TcpStream, presented: &Presented) -> Result<Look, CallerRefused> {
    match other_end(made).await? {
        OtherEnd::Held { uid } => judge(uid, presented).map(|()| Look::Known(Acceptance::Accepted)),
        OtherEnd::Queued => Ok(Look::Queued),
        OtherEnd::Deferred => Ok(Look::Known(Acceptance::Deferred)),
        OtherEnd::Nobody => Err(CallerRefused::Nobody),
    }
}

/// What the peer whose bytes wait is doing.
enum Peer {
    /// It may send more.
    Open,
    /// It has sent all it has to say, or has left: TCP does not tell the two apart.
    Silent,
    /// It reset the connection.
    Gone,
}

fn peer_of(stream: &TcpStream) -> Peer {
    let readiness = stream.ready(Interest::READABLE).now_or_never();
    let is_closed = readiness.is_some_and(|ready| ready.is_ok_and(Ready::is_read_closed));
    match (stream.peer_addr(), is_closed) {
        (Err(_), _) => Peer::Gone,
        (Ok(_), true) => Peer::Silent,
        (Ok(_), false) => Peer::Open,
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
