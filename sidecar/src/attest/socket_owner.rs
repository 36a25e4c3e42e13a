//! Who is at the other end of a loopback connection.
//!
//! The kernel is asked about a *pair of addresses*, and a pair can be used again: whoever connects,
//! writes and resets leaves bytes on our side, and the next socket from the same port is another
//! process's. So an answer alone says nothing about a connection. [`other_end`] asks, and only then
//! looks whether our own socket is still connected. That order makes it sound:
//!
//! * A connected socket of ours occupies its pair of addresses in this network namespace. While it
//!   does, the kernel hands it every SYN of that pair, so no other socket of the pair gets beyond
//!   `SYN_SENT`, and that state is never taken for the other end.
//! * Our socket leaves `CLOSE` never again. If it is connected after the answer, it was so when the
//!   answer was made, and the socket in the answer is the one that it was connected with from the
//!   beginning. Looked at before the question, it could be reset in between.
//! * So every byte that can be read from our socket, now or later, is of the uid in the answer.
//!
//! `getpeername` is the look: it fails in `CLOSE` and costs no question. A socket that no process
//! holds has inode 0, whatever uid the kernel tells with it: a handshake, a `TIME_WAIT` entry, what
//! waits in an accept queue, and what its process closed.

mod diagnostics;
mod questions;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use netlink_packet_sock_diag::constants::{
    TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_LISTEN, TCP_SYN_RECV,
};
use netlink_packet_sock_diag::inet::InetResponseHeader;
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, getpeername, getsockname};
use tokio::net::TcpStream;

pub(crate) use self::diagnostics::DiagnosticsError;
use self::diagnostics::{
    canonical, listener_at, socket_between, sockets_between, source_of, target_of,
};

/// What is at the other end of a connection of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherEnd {
    /// A process of this uid: the one that connected, or the one that accepted.
    Held {
        /// As seen from our user namespace.
        uid: u32,
    },
    /// The accept queue of a listener: nobody has accepted it yet.
    Queued,
    /// A listener that has not taken it into its queue: it accepts once there are bytes
    /// (`TCP_DEFER_ACCEPT`), or its queue was full at that moment.
    Deferred,
    /// No process of this network namespace, or our connection has ended.
    Nobody,
}

/// Who listens on an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    /// The uid that made it.
    pub(crate) uid: u32,
    /// The kernel never gives one to two sockets.
    cookie: [u8; 8],
}

impl Listener {
    /// Whether both answers are about one and the same socket.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.cookie == other.cookie
    }
}

/// What is at the other end of a loopback connection, which we accepted or made. Read nothing from
/// it and write nothing to it before this is known.
///
/// # Errors
/// The kernel could not be asked.
pub(crate) async fn other_end(ours: &TcpStream) -> Result<OtherEnd, DiagnosticsError> {
    let Some((near, far)) = addresses(ours)? else {
        return Ok(OtherEnd::Nobody);
    };
    let answer = socket_between(far, near).await?;
    conclude(ours, (near, far), answer.as_ref())
}

/// What [`other_end`] says of each of these connections, in one question.
pub(crate) async fn other_ends(ours: &[impl AsFd]) -> Vec<Result<OtherEnd, DiagnosticsError>> {
    let pairs: Vec<_> = ours.iter().map(addresses).collect();
    let open = pairs.iter().flatten().flatten();
    let questions: Vec<_> = open.map(|(near, far)| (*far, *near)).collect();
    let mut answers = match questions.is_empty() {
        true => Vec::new(),
        false => sockets_between(questions).await,
    }
    .into_iter();
    let judge = |(ours, pair): (_, io::Result<Option<_>>)| match pair? {
        Some(pair) => {
            let answer = answers.next().expect("one for each question");
            conclude(ours, pair, answer?.as_ref())
        }
        None => Ok(OtherEnd::Nobody),
    };
    ours.iter().zip(pairs).map(judge).collect()
}

/// The TCP listener which would get a connection to `address`. One that listens before and after
/// we connected is the one that we are connected to.
///
/// # Errors
/// The kernel could not be asked.
pub(crate) async fn listener(address: SocketAddr) -> Result<Option<Listener>, DiagnosticsError> {
    let found = listener_at(address).await?;
    let found = found.filter(|socket| is_listener(socket, canonical(address)));
    Ok(found.map(|socket| Listener {
        uid: socket.uid,
        cookie: socket.socket_id.cookie,
    }))
}

/// Both ends of a connection, ours first; `None` once it has ended.
fn addresses(ours: &impl AsFd) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    match getpeername(ours) {
        Ok(far) => Ok(Some((address(Some(getsockname(ours)?))?, address(far)?))),
        Err(Errno::NOTCONN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn address(name: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    let name = name.ok_or(Errno::AFNOSUPPORT)?;
    Ok(canonical(name.try_into()?))
}

/// What an answer about `(near, far)` says of our socket *now*. To be called after the answer was
/// made: see the top of this module.
fn conclude(
    ours: &impl AsFd,
    (near, far): (SocketAddr, SocketAddr),
    answer: Option<&InetResponseHeader>,
) -> Result<OtherEnd, DiagnosticsError> {
    Ok(match answer {
        Some(socket) if addresses(ours)?.is_some() => read(socket, far, near),
        _ => OtherEnd::Nobody,
    })
}

/// What the kernel's answer says of the socket from `source` to `target`.
fn read(socket: &InetResponseHeader, source: SocketAddr, target: SocketAddr) -> OtherEnd {
    if (source_of(socket), target_of(socket)) != (source, target) {
        // The kernel answers with a listener on `source` where there is no such socket.
        return OtherEnd::Nobody;
    }
    match (socket.state, is_held(socket)) {
        (TCP_ESTABLISHED | TCP_FIN_WAIT1 | TCP_FIN_WAIT2 | TCP_CLOSE_WAIT, true) => {
            OtherEnd::Held { uid: socket.uid }
        }
        (TCP_ESTABLISHED, false) => OtherEnd::Queued,
        (TCP_SYN_RECV, false) => OtherEnd::Deferred,
        _ => OtherEnd::Nobody,
    }
}

fn is_listener(socket: &InetResponseHeader, address: SocketAddr) -> bool {
    let bound = source_of(socket);
    is_held(socket)
        && socket.state == TCP_LISTEN
        && bound.port() == address.port()
        && (bound.ip() == address.ip() || bound.ip().is_unspecified())
}

fn is_held(socket: &InetResponseHeader) -> bool {
    socket.inode != 0
}

#[cfg(test)]
mod tests;
