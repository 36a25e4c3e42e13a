//! The kernel's word on one socket: questions and answers of `sock_diag` (netlink).
//!
//! A question names the full address of one socket, so the answer costs the same on a machine with
//! ten sockets and with a million. The uid in it is that of the process that made or accepted the
//! socket, as seen from this process's user namespace (an unmapped owner is the overflow uid). It
//! says nothing about gid or executable.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::questions::{ANSWER_DEADLINE, MAX_QUESTIONS, Questions};

/// Room for one answer: a header, one socket and its attributes.
const ANSWER_BYTES: usize = 4_096;
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// The turns of everybody who asks.
static QUESTIONS: Questions = Questions::new(MAX_QUESTIONS, ANSWER_DEADLINE);

/// The kernel could not be asked, so nobody is known: deny.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DiagnosticsError {
    /// No netlink socket, no answer within the deadline, or a refusal by the kernel.
    #[error("kernel socket diagnostics failed: {0}")]
    Kernel(#[from] io::Error),
    /// An answer that is none to our question.
    #[error("kernel socket diagnostics gave an answer that cannot be read")]
    Malformed,
}

/// The socket from `source` to `target`; where there is none, the kernel answers with the listener
/// on `source`.
///
/// # Errors
/// The kernel could not be asked.
pub(super) async fn socket_between(
    source: SocketAddr,
    target: SocketAddr,
) -> Result<Option<InetResponseHeader>, DiagnosticsError> {
    let (source, target) = (canonical(source), canonical(target));
    QUESTIONS.ask(move || ask(source, target)).await
}

/// The same of many pairs, source first, for the price of one turn: an answer for each. A kernel that
/// fails to answer one is asked nothing further.
pub(super) async fn sockets_between(
    pairs: Vec<(SocketAddr, SocketAddr)>,
) -> Vec<Result<Option<InetResponseHeader>, DiagnosticsError>> {
    let count = pairs.len();
    let question = |(source, target)| ask(canonical(source), canonical(target));
    let asking = QUESTIONS.ask(move || Ok(until_one_fails(pairs, question)));
    let mut answers = asking.await.unwrap_or_else(|error| vec![Err(error)]);
    let unanswered = || Err(io::Error::other("a question before it failed").into());
    answers.resize_with(count, unanswered);
    answers
}

/// The answers to some questions, up to the first failure.
fn until_one_fails<Q, T, E>(
    questions: Vec<Q>,
    mut ask: impl FnMut(Q) -> Result<T, E>,
) -> Vec<Result<T, E>> {
    let mut answers = Vec::with_capacity(questions.len());
    for question in questions {
        answers.push(ask(question));
        if answers.last().is_some_and(Result::is_err) {
            break;
        }
    }
    answers
}

/// The listener that would get a connection to `address`: the kernel's own choice among exact,
/// wildcard and dual-stack listeners.
///
/// # Errors
/// The kernel could not be asked.
pub(super) async fn listener_at(
    address: SocketAddr,
) -> Result<Option<InetResponseHeader>, DiagnosticsError> {
    socket_between(address, any_like(canonical(address))).await
}

/// Where a socket of an answer is bound.
pub(super) fn source_of(socket: &InetResponseHeader) -> SocketAddr {
    let id = &socket.socket_id;
    canonical((id.source_address, id.source_port).into())
}

/// Where a socket of an answer is connected.
pub(super) fn target_of(socket: &InetResponseHeader) -> SocketAddr {
    let id = &socket.socket_id;
    canonical((id.destination_address, id.destination_port).into())
}

/// IPv4 in IPv6 clothes is IPv4; scope and flow of an IPv6 address are left out.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn any_like(address: SocketAddr) -> SocketAddr {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, 0)
}

fn ask(
    source: SocketAddr,
    target: SocketAddr,
) -> Result<Option<InetResponseHeader>, DiagnosticsError> {
    let kept = idle().pop();
    let mut kernel = kept.map_or_else(Kernel::connect, Ok)?;
    let answer = kernel.ask(source, target)?;
    // Only after a good answer: what a failure left unread would answer the next question.
    idle().push(kernel);
    Ok(answer)
}

/// Sockets that no question uses: as many as there were questions at once.
static IDLE: Mutex<Vec<Kernel>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Kernel>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A netlink socket that is connected to the kernel, so that nobody else can answer.
struct Kernel {
    socket: netlink_sys::Socket,
    asked: u32,
}

impl Kernel {
    fn connect() -> Result<Self, DiagnosticsError> {
        let mut socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_DEADLINE))
            .map_err(io::Error::from)?;
        socket.bind_auto()?;
        socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
        Ok(Self { socket, asked: 0 })
    }

    fn ask(
        &mut self,
        source: SocketAddr,
        target: SocketAddr,
    ) -> Result<Option<InetResponseHeader>, DiagnosticsError> {
        self.asked = self.asked.wrapping_add(1);
        self.socket.send(&question(source, target, self.asked), 0)?;
        let mut answer = [0; ANSWER_BYTES];
        let length = self.socket.recv(&mut &mut answer[..], 0)?;
        let answer = answer.get(..length).ok_or(DiagnosticsError::Malformed)?;
        read_answer(answer, self.asked)
    }
}

fn question(source: SocketAddr, target: SocketAddr, number: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = number;
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

fn read_answer(bytes: &[u8], number: u32) -> Result<Option<InetResponseHeader>, DiagnosticsError> {
    let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes)
        .map_err(|_| DiagnosticsError::Malformed)?;
    if message.header.sequence_number != number {
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
mod tests {
    use super::*;

    #[test]
    fn junk_answers_are_malformed() {
        for junk in [&[][..], &[0; 8], &[0xff; 64], &[0; 16]] {
            assert!(matches!(
                read_answer(junk, 1),
                Err(DiagnosticsError::Malformed)
            ));
        }
    }

    #[test]
    fn a_kernel_that_fails_is_asked_nothing_further() {
        let mut asked = 0;
        let answers = until_one_fails(vec![1, 2, 0, 3, 0], |divisor: i32| {
            asked += 1;
            6_i32.checked_div(divisor).ok_or(divisor)
        });
        assert_eq!(answers, [Ok(6), Ok(3), Err(0)]);
        assert_eq!(asked, 3);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_is_beyond_reading(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
            let _ = read_answer(&bytes, 1);
        }
    }
}
