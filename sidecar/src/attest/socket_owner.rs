//! Which uid owns the socket at the other end of a loopback connection.
//!
//! The kernel is asked by `sock_diag` (netlink) with the full address of one socket, so the answer
//! costs the same on a machine with ten sockets and with a million. The uid is that of the process
//! that made the socket, as seen from this process's user namespace (an unmapped owner is the
//! overflow uid). It says nothing about gid or executable.
//!
//! A socket that no process holds any more is answered with uid 0 by the kernel, and so are
//! handshakes and TIME_WAIT entries. They are recognised by their inode, 0, and have no owner
//! here: else whoever closes quickly would count as root.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use countersign_model::{Claimed, Entitlement, EntitlementKind, Selector};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN, TCP_SYN_RECV, TCP_TIME_WAIT,
};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// How long one answer of the kernel may take.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(1);
/// Room for one answer: a header, one socket and its attributes.
const ANSWER_BYTES: usize = 4_096;
const SEQUENCE: u32 = 1;
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// The kernel could not be asked, so nobody is known: deny.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiagnosticsError {
    /// No netlink socket, no answer in [`ANSWER_DEADLINE`], or a refusal by the kernel.
    #[error("kernel socket diagnostics failed: {0}")]
    Kernel(#[from] io::Error),
    /// An answer that is none to our question.
    #[error("kernel socket diagnostics gave an answer that cannot be read")]
    Malformed,
}

/// The uid that owns the *client's* socket of a loopback connection that we accepted, by the two
/// addresses of our own socket. `None`: no process of this network namespace holds it.
///
/// # Errors
/// The kernel could not be asked.
pub async fn owner_of_connection(
    local: SocketAddr,
    remote: SocketAddr,
) -> Result<Option<u32>, DiagnosticsError> {
    let (local, remote) = (canonical(local), canonical(remote));
    ask_off_the_runtime(move || {
        let found = ask(remote, local)?;
        Ok(found.filter(|socket| is_connection(socket, remote, local)))
    })
    .await
}

/// The uid that owns the TCP listener which would get a connection to `address`: the kernel's own
/// choice among exact, wildcard and dual-stack listeners. Ask after connecting as well as before,
/// because a listener can be replaced between the two.
///
/// # Errors
/// The kernel could not be asked.
pub async fn owner_of_listener(address: SocketAddr) -> Result<Option<u32>, DiagnosticsError> {
    let address = canonical(address);
    ask_off_the_runtime(move || {
        let found = ask(address, any_like(address))?;
        Ok(found.filter(|socket| is_listener(socket, address)))
    })
    .await
}

/// Whether some uid alone satisfies an entitlement. Where it does not, a loopback listener with
/// that identity refuses everybody: say so when it starts, with the remedy
/// `attest_callers = "netns"`.
pub fn is_admissible_by_uid(entitlement: &Entitlement) -> bool {
    match &entitlement.kind {
        EntitlementKind::Node => false,
        EntitlementKind::Workload(selectors) => {
            let mut selectors = selectors.iter();
            matches!(
                (selectors.next(), selectors.next()),
                (Some(Selector::UnixUid(_)), None)
            )
        }
    }
}

/// Whether a uid alone satisfies *all* selectors of an entitlement. One that asks for a gid or an
/// executable as well is never satisfied: see [`Entitlement::admits`] for callers of the socket.
pub fn admits(entitlement: &Entitlement, uid: u32) -> bool {
    entitlement.admits(&[Selector::UnixUid(uid)].into_iter().collect::<Claimed>())
}

async fn ask_off_the_runtime(
    question: impl FnOnce() -> Result<Option<InetResponseHeader>, DiagnosticsError> + Send + 'static,
) -> Result<Option<u32>, DiagnosticsError> {
    let found = tokio::task::spawn_blocking(question)
        .await
        .map_err(io::Error::other)??;
    Ok(found.map(|socket| socket.uid))
}

fn is_connection(socket: &InetResponseHeader, source: SocketAddr, target: SocketAddr) -> bool {
    is_held(socket)
        && !matches!(socket.state, TCP_LISTEN | TCP_TIME_WAIT | TCP_SYN_RECV)
        && source_of(socket) == source
        && target_of(socket) == target
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

fn source_of(socket: &InetResponseHeader) -> SocketAddr {
    canonical(
        (
            socket.socket_id.source_address,
            socket.socket_id.source_port,
        )
            .into(),
    )
}

fn target_of(socket: &InetResponseHeader) -> SocketAddr {
    let id = &socket.socket_id;
    canonical((id.destination_address, id.destination_port).into())
}

/// IPv4 in IPv6 clothes is IPv4; scope and flow of an IPv6 address are left out.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn any_like(address: SocketAddr) -> SocketAddr {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, 0)
}

/// The socket from `source` to `target`; where there is none, the kernel answers with the listener
/// on `source`. The netlink socket is connected to the kernel, so nobody else can answer.
fn ask(
    source: SocketAddr,
    target: SocketAddr,
) -> Result<Option<InetResponseHeader>, DiagnosticsError> {
    let mut socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_DEADLINE)).map_err(io::Error::from)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    socket.send(&question(source, target), 0)?;
    let mut answer = vec![0; ANSWER_BYTES];
    let length = socket.recv(&mut &mut answer[..], 0)?;
    let answer = answer.get(..length).ok_or(DiagnosticsError::Malformed)?;
    read_answer(answer)
}

fn question(source: SocketAddr, target: SocketAddr) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = SEQUENCE;
    let request = InetRequest {
        family: if source.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: source.port(),
            destination_port: target.port(),
            source_address: source.ip(),
            destination_address: target.ip(),
            interface_id: 0,
            cookie: NO_COOKIE,
        },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn read_answer(bytes: &[u8]) -> Result<Option<InetResponseHeader>, DiagnosticsError> {
    let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes)
        .map_err(|_| DiagnosticsError::Malformed)?;
    if message.header.sequence_number != SEQUENCE {
        return Err(DiagnosticsError::Malformed);
    }
    match message.payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => {
            Ok(Some(found.header))
        }
        NetlinkPayload::Error(error) => match error.to_io() {
            error if error.kind() == io::ErrorKind::NotFound => Ok(None),
            error => Err(error.into()),
        },
        _ => Err(DiagnosticsError::Malformed),
    }
}

#[cfg(test)]
mod tests;
