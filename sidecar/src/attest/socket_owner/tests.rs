use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::forks;

const STRANGER: u32 = 54_321;
const OWN: fn() -> OtherEnd = || OtherEnd::Held { uid: own_uid() };
const STRANGERS: OtherEnd = OtherEnd::Held { uid: STRANGER };
/// IPv4, IPv6, and IPv4 in IPv6 clothes: where to listen, and where to connect.
const FAMILIES: [(&str, &str); 3] = [
    ("127.0.0.1:0", "127.0.0.1"),
    ("[::1]:0", "::1"),
    ("[::]:0", "127.0.0.1"),
];

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A Python process of another uid; needs root, as the sandbox of the project's tests has it.
struct Stranger(Child);

impl Stranger {
    fn running(script: &str) -> Self {
        let script = format!("import socket, struct, sys\n{script}");
        let mut child = Command::new("python3");
        child
            .args(["-c", &script])
            .uid(STRANGER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self(forks::spawn(&mut child).expect("starting a process of another uid needs root"))
    }

    /// The next line that it prints.
    fn says(&mut self) -> String {
        let mut line = String::new();
        let said = self.0.stdout.as_mut().unwrap();
        BufReader::with_capacity(1, said)
            .read_line(&mut line)
            .unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One of our own sockets, as the proxy holds it.
fn ours(stream: std::net::TcpStream) -> TcpStream {
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

fn accept(listener: &TcpListener) -> TcpStream {
    ours(listener.accept().unwrap().0)
}

/// A client of ours.
fn connect(target: SocketAddr) -> std::net::TcpStream {
    std::net::TcpStream::connect(target).unwrap()
}

/// A client of ours from an address that another had before; `None` where a test beside this one took
/// its port in between.
fn connect_from(source: SocketAddr, target: SocketAddr) -> Option<std::net::TcpStream> {
    let family = match target {
        SocketAddr::V4(_) => rustix::net::AddressFamily::INET,
        SocketAddr::V6(_) => rustix::net::AddressFamily::INET6,
    };
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).unwrap();
    match rustix::net::bind(&socket, &source) {
        Err(Errno::ADDRINUSE) => return None,
        bound => bound.unwrap(),
    }
    rustix::net::connect(&socket, &target).unwrap();
    Some(socket.into())
}

/// Tries again where a port was taken.
async fn until_free(attempt: impl AsyncFn() -> Option<()>) {
    for _ in 0..20 {
        if attempt().await.is_some() {
            return;
        }
    }
    panic!("its port is always taken");
}

fn target(listener: &TcpListener, host: &str) -> SocketAddr {
    let port = listener.local_addr().unwrap().port();
    SocketAddr::new(host.parse().unwrap(), port)
}

async fn is_at_other_end(ours: &TcpStream) -> OtherEnd {
    other_end(ours).await.unwrap()
}

/// One that has ended has no answer, and takes none from another.
#[tokio::test]
#[expect(
    clippy::await_holding_lock,
    reason = "no task of this test starts a process"
)]
async fn many_connections_are_told_apart_in_one_question() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = target(&listener, "127.0.0.1");
    let mut accepted = Vec::new();
    let mut clients = Vec::new();
    let script = format!(
        "s = socket.create_connection(('127.0.0.1', {}))",
        target.port()
    );
    let hold = "; print(0, flush=True); sys.stdin.read()";
    let mut stranger = Stranger::running(&(script + hold));
    stranger.says();
    accepted.push(accept(&listener));
    for _ in 0..2 {
        clients.push(connect(target));
        accepted.push(accept(&listener));
    }
    let _none = forks::none();
    let reset = ours(clients.remove(0));
    reset.set_zero_linger().unwrap();
    drop(reset);
    let ends = other_ends(&accepted).await.into_iter().map(Result::unwrap);
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [STRANGERS, OtherEnd::Nobody, OWN()]
    );
    let none: [TcpStream; 0] = [];
    assert!(other_ends(&none).await.is_empty());
}

#[tokio::test]
async fn own_connections_are_our_own() {
    for (listen, host) in FAMILIES {
        let listener = TcpListener::bind(listen).unwrap();
        let client = connect(target(&listener, host));
        let accepted = accept(&listener);
        assert_eq!(is_at_other_end(&accepted).await, OWN(), "{listen}");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(is_at_other_end(&accepted).await, OWN(), "{listen}");
        // And the other way round: who accepted is at the client's other end.
        assert_eq!(is_at_other_end(&ours(client)).await, OWN(), "{listen}");
    }
}

#[tokio::test]
async fn another_uid_is_told_apart() {
    for (listen, host) in FAMILIES {
        let listener = TcpListener::bind(listen).unwrap();
        let port = target(&listener, host).port();
        let script =
            format!("s = socket.create_connection(('{host}', {port})); sys.stdin.readline()");
        let _stranger = Stranger::running(&script);
        let accepted = accept(&listener);
        assert_eq!(is_at_other_end(&accepted).await, STRANGERS, "{listen}");
    }
}

/// The attack: a stranger's bytes, and another client of ours with the same pair of addresses.
#[tokio::test]
async fn a_used_pair_of_addresses_names_nobody() {
    for (listen, host) in FAMILIES {
        until_free(async || {
            let listener = TcpListener::bind(listen).unwrap();
            let target = target(&listener, host);
            let script = format!(
                "s = socket.create_connection(('{host}', {})); s.send(b'forged'); \
                 print(s.getsockname()[1], flush=True); \
                 s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); \
                 s.close(); print('reset', flush=True); sys.stdin.readline()",
                target.port()
            );
            let mut stranger = Stranger::running(&script);
            let source = SocketAddr::new(host.parse().unwrap(), stranger.says().parse().unwrap());
            assert_eq!(stranger.says(), "reset");
            let _honest = connect_from(source, target)?;
            let (forged, honest) = (accept(&listener), accept(&listener));
            assert_eq!(is_at_other_end(&honest).await, OWN(), "{listen}");
            assert_eq!(is_at_other_end(&forged).await, OtherEnd::Nobody, "{listen}");
            // The bytes are there: only the judgement keeps them back.
            let mut bytes = [0; 6];
            let mut forged = forged.into_std().unwrap();
            forged.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"forged");
            Some(())
        })
        .await;
    }
}

/// The same, with the reset and the second client between the two looks at our own socket.
#[tokio::test]
async fn an_answer_about_a_successor_is_not_taken() {
    until_free(async || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = target(&listener, "127.0.0.1");
        let forger = ours(connect(target));
        let source = forger.local_addr().unwrap();
        let forged = accept(&listener);
        let before = addresses(&forged).unwrap().unwrap();
        forger.set_zero_linger().unwrap();
        drop(forger);
        let _honest = connect_from(source, target)?;
        let answer = socket_between(source, target).await.unwrap().unwrap();
        assert_eq!(read(&answer, source, target), OWN());
        let concluded = conclude(&forged, before, Some(&answer)).unwrap();
        assert_eq!(concluded, OtherEnd::Nobody);
        Some(())
    })
    .await;
}

#[tokio::test]
async fn no_state_but_a_connected_one_is_held() {
    use netlink_packet_sock_diag::constants::{
        TCP_CLOSE, TCP_CLOSING, TCP_LAST_ACK, TCP_SYN_SENT, TCP_TIME_WAIT,
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = ours(connect(target(&listener, "127.0.0.1")));
    let _accepted = accept(&listener);
    let (near, far) = addresses(&client).unwrap().unwrap();
    let mut answer = socket_between(far, near).await.unwrap().unwrap();
    assert_eq!(read(&answer, far, near), OWN());
    assert_eq!(read(&answer, near, far), OtherEnd::Nobody, "another pair");
    for state in [
        TCP_SYN_SENT,
        TCP_SYN_RECV,
        TCP_TIME_WAIT,
        TCP_CLOSE,
        TCP_LAST_ACK,
        TCP_LISTEN,
        TCP_CLOSING,
    ] {
        answer.state = state;
        assert_eq!(read(&answer, far, near), OtherEnd::Nobody, "{state}");
    }
}

#[tokio::test]
async fn a_closed_socket_is_not_roots() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect(target(&listener, "127.0.0.1"));
    let accepted = accept(&listener);
    drop(client);
    assert_eq!(is_at_other_end(&accepted).await, OtherEnd::Nobody);
}

#[tokio::test]
async fn a_queue_is_no_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let made = ours(connect(target(&listener, "127.0.0.1")));
    assert_eq!(is_at_other_end(&made).await, OtherEnd::Queued);
    let _accepted = accept(&listener);
    assert_eq!(is_at_other_end(&made).await, OWN());
}

#[tokio::test]
async fn a_listener_that_defers_is_recognised() {
    let script = "s = socket.socket(); s.bind(('127.0.0.1', 0)); \
                  s.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60); s.listen(); \
                  print(s.getsockname()[1], flush=True); c, _ = s.accept(); sys.stdin.readline()";
    let mut deferring = Stranger::running(script);
    let port: u16 = deferring.says().parse().unwrap();
    let mut made = connect(([127, 0, 0, 1], port).into());
    assert_eq!(
        is_at_other_end(&ours(made.try_clone().unwrap())).await,
        OtherEnd::Deferred
    );
    made.write_all(b"x").unwrap();
    let made = ours(made);
    let accepted = async {
        while is_at_other_end(&made).await != STRANGERS {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), accepted)
        .await
        .unwrap();
}

/// A stranger accepts and makes room for the listener of another: who listens is not who has it.
#[tokio::test]
async fn who_accepted_counts_and_not_who_listens() {
    let script = "s = socket.create_server(('127.0.0.1', 0)); \
                  print(s.getsockname()[1], flush=True); c, _ = s.accept(); s.close(); \
                  print('closed', flush=True); sys.stdin.readline()";
    let mut stranger = Stranger::running(script);
    let address = SocketAddr::from(([127, 0, 0, 1], stranger.says().parse().unwrap()));
    let made = ours(connect(address));
    assert_eq!(stranger.says(), "closed");
    let _honest = TcpListener::bind(address).unwrap();
    assert_eq!(listener(address).await.unwrap().unwrap().uid, own_uid());
    assert_eq!(is_at_other_end(&made).await, STRANGERS);
}

#[tokio::test]
#[expect(
    clippy::await_holding_lock,
    reason = "no task of this test starts a process"
)]
async fn a_listener_put_in_its_place_is_another() {
    let _none = forks::none();
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    let before = listener(address).await.unwrap().unwrap();
    assert!(listener(address).await.unwrap().unwrap().is(&before));
    drop(first);
    let _second = TcpListener::bind(address).unwrap();
    let after = listener(address).await.unwrap().unwrap();
    assert!(!after.is(&before));
}

#[tokio::test]
#[expect(
    clippy::await_holding_lock,
    reason = "no task of this test starts a process"
)]
async fn listeners_of_every_kind_are_found() {
    let _none = forks::none();
    for bound in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let bound_listener = TcpListener::bind(bound).unwrap();
        let address = target(&bound_listener, "127.0.0.1");
        let owner = listener(address).await.unwrap().map(|found| found.uid);
        assert_eq!(owner, Some(own_uid()), "{bound}");
        drop(bound_listener);
        assert!(listener(address).await.unwrap().is_none(), "{bound}");
    }
}

#[tokio::test]
async fn another_address_or_family_is_no_listener_of_ours() {
    let bound = TcpListener::bind("127.0.0.2:0").unwrap();
    let elsewhere = target(&bound, "127.0.0.1");
    assert!(listener(elsewhere).await.unwrap().is_none());
    let other_family = SocketAddr::from((Ipv6Addr::LOCALHOST, elsewhere.port()));
    assert!(listener(other_family).await.unwrap().is_none());
}

/// Descriptors of this process that are sockets of `sock_diag`.
fn diagnostic_sockets() -> usize {
    const SOCK_DIAG: &str = "4";
    let table = std::fs::read_to_string("/proc/net/netlink").unwrap();
    let rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let sockets: Vec<_> = rows
        .filter(|row| row.get(1) == Some(&SOCK_DIAG))
        .map(|row| PathBuf::from(format!("socket:[{}]", row.last().unwrap())))
        .collect();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    open.filter(|it| sockets.contains(it)).count()
}

/// More at once than there may be threads that ask.
#[tokio::test]
async fn many_questions_take_few_descriptors() {
    let bound = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = bound.local_addr().unwrap();
    let asking = (0..400).map(|_| tokio::spawn(listener(address)));
    for answer in asking.collect::<Vec<_>>() {
        assert!(answer.await.unwrap().unwrap().is_some());
    }
    let kept = diagnostic_sockets();
    assert!((1..=questions::MAX_QUESTIONS).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_listener_of_another_uid_is_told_apart() {
    let script = "s = socket.create_server(('127.0.0.1', 0)); \
                  print(s.getsockname()[1], flush=True); sys.stdin.readline()";
    let mut stranger = Stranger::running(script);
    let address = SocketAddr::from(([127, 0, 0, 1], stranger.says().parse().unwrap()));
    let owner = listener(address).await.unwrap().map(|found| found.uid);
    assert_eq!(owner, Some(STRANGER));
}
