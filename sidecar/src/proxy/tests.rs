//! Two sidecars' data paths with real sockets between them.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_model::{Entitlement, EntitlementId, EntitlementKind, Selector, SelectorSet};
use countersign_verify::BundleSet;
use countersign_verify::tls::{PeerRule, client_config};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

mod churn;
mod places;

use super::*;
use crate::clock;
use crate::config::AttestCallers;
use crate::consumers::Consumers;
use crate::control::link_state::LinkState;
use crate::forks;
use crate::holdings::{Held, Holdings, Svid};
use crate::pki::{Authority, id, right, serial};
use crate::status::{Report, Sources};

const BOUND: Duration = Duration::from_secs(20);

/// The data path of one node that holds one identity.
struct Node {
    holdings: Arc<Holdings>,
    identities: Arc<Identities>,
    metrics: Arc<Metrics>,
    listening: Vec<Listening>,
    address: SocketAddr,
    tracker: TaskTracker,
    stop: CancellationToken,
    following: JoinHandle<()>,
}

impl Node {
    fn inbound(trust: &Arc<TrustCell>, forward: SocketAddr, attest: AttestCallers) -> Self {
        let listener = Inbound {
            listen: "127.0.0.1:0".parse().unwrap(),
            forward,
            identity: id("/web"),
            allow: vec![id("/client")],
            attest_callers: attest,
        };
        Self::start(&[listener], &[], trust)
    }

    fn outbound(trust: &Arc<TrustCell>, connect: SocketAddr, own: &str, expect: &str) -> Self {
        let listener = Outbound {
            listen: "127.0.0.1:0".parse().unwrap(),
            connect,
            identity: id(own),
            expect: vec![id(expect)],
            attest_callers: AttestCallers::Uid,
        };
        Self::start(&[], &[listener], trust)
    }

    fn start(inbound: &[Inbound], outbound: &[Outbound], trust: &Arc<TrustCell>) -> Self {
        Self::start_within(Descriptors::of_process(), inbound, outbound, trust)
    }

    fn start_within(
        mut descriptors: Descriptors,
        inbound: &[Inbound],
        outbound: &[Outbound],
        trust: &Arc<TrustCell>,
    ) -> Self {
        let (metrics, clock) = (Arc::<Metrics>::default(), Clock::of_system());
        let counted = counters(inbound.len(), outbound.len());
        let proxy = Proxy::bind((inbound, outbound), (trust, clock), &metrics, counted).unwrap();
        let holdings = Holdings::new();
        let identities = Arc::clone(proxy.identities());
        let follow = Arc::clone(&identities).follow(holdings.clone(), Arc::<Consumers>::default());
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let listening = proxy.listening();
        let address = listening[0].address;
        proxy.start(&mut descriptors, &stop, &tracker);
        Self {
            holdings,
            identities,
            metrics,
            listening,
            address,
            tracker,
            stop,
            following: tokio::spawn(follow),
        }
    }

    /// Installs a credential, as the control task would.
    fn hold(&self, authority: &Authority, path: &str, index: u64, uid: u32) {
        self.hold_under(authority, index, &[right('1', path, uid)]);
    }

    /// The same credential under several rights to one identity.
    fn hold_under(&self, authority: &Authority, index: u64, rights: &[Entitlement]) {
        self.hold_svid(authority.svid(&rights[0].spiffe_id, serial(index)), rights);
    }

    fn hold_svid(&self, svid: impl Into<Arc<Svid>>, rights: &[Entitlement]) {
        let svid = svid.into();
        let held = |right: &Entitlement| {
            let held = Held {
                entitlement: Arc::new(right.clone()),
                svid: Some(svid.clone()),
                problem: None,
            };
            (right.id.clone(), held)
        };
        let entries = Arc::new(rights.iter().map(held).collect());
        self.holdings.publish(|snapshot| snapshot.entries = entries);
    }

    /// Whether its one listener has refused a connection for this reason.
    fn refused(&self, reason: &str) -> bool {
        let listener = &self.listening[0].name;
        let labels = format!(r#"{{listener="{listener}",reason="{reason}"}}"#);
        self.metric()
            .contains(&format!("connections_refused_total{labels}"))
    }

    /// What `status` says is wrong with its one listener.
    fn row_of_status(&self) -> Option<String> {
        let sources = Sources {
            address: String::new(),
            link: LinkState::starting(clock::now()),
            snapshot: &self.holdings.load(),
            demanded: &BTreeSet::new(),
            enrol_ahead: 0,
            listeners: &self.listening,
            others: &[],
            counted: &[],
            not_ready: Vec::new(),
            degraded: Vec::new(),
        };
        let mut report = Report::at(sources, clock::now());
        report.listeners.items.remove(0).problem
    }

    fn lose_everything(&self) {
        self.holdings
            .publish(|snapshot| snapshot.entries = Arc::default());
    }

    async fn presents(&self, path: &str, index: u64) {
        let identity = self.identities.of(&id(path)).unwrap();
        until(|| {
            identity
                .presented()
                .is_some_and(|p| p.serial() == serial(index))
        })
        .await;
    }

    async fn served(&self, index: u64) {
        let mut served = self.identities.served();
        let name: EntitlementId = right('1', "/web", 0).id;
        let seen = served.wait_for(|s| s.get(&name).is_some_and(|(s, _)| *s == serial(index)));
        within(seen).await.unwrap();
    }

    fn metric(&self) -> String {
        let snapshot = self.holdings.load();
        self.metrics.encode(&snapshot, Timestamp::UNIX_EPOCH)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
        self.following.abort();
    }
}

/// A client's node, a server's node, and a service that echoes.
struct Mesh {
    authority: Authority,
    client: Node,
    server: Node,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Mesh {
    async fn up() -> Self {
        let mesh = Self::bound(AttestCallers::Uid, "/client", "/web");
        mesh.hold("/client", uid()).await;
        mesh
    }

    /// With listeners that have nothing to present yet.
    fn bound(attest: AttestCallers, own: &str, expect: &str) -> Self {
        let got = Arc::default();
        let workload = echo(Arc::clone(&got));
        Self::before(workload, got, attest, own, expect)
    }

    /// With a workload of the test's own.
    async fn forwarding(workload: SocketAddr) -> Self {
        let got = Arc::default();
        let mesh = Self::before(workload, got, AttestCallers::Uid, "/client", "/web");
        mesh.hold("/client", uid()).await;
        mesh
    }

    fn before(
        workload: SocketAddr,
        got: Arc<Mutex<Vec<u8>>>,
        attest: AttestCallers,
        own: &str,
        expect: &str,
    ) -> Self {
        let authority = Authority::new("root");
        let trust = TrustCell::new([authority.bundle()].into_iter().collect::<BundleSet>());
        let server = Node::inbound(&trust, workload, attest);
        let client = Node::outbound(&trust, server.address, own, expect);
        Self {
            authority,
            client,
            server,
            got,
        }
    }

    /// Both have certificates: the client as `own`, the server for a workload of this uid.
    async fn hold(&self, own: &str, server_uid: u32) {
        self.client.hold(&self.authority, own, 1, uid());
        self.server.hold(&self.authority, "/web", 2, server_uid);
        self.client.presents(own, 1).await;
        self.server.presents("/web", 2).await;
    }

    /// Everything that the workload got, once no connection is left.
    async fn drained(self) -> Vec<u8> {
        for node in [&self.client, &self.server] {
            node.stop.cancel();
            node.tracker.close();
            within(node.tracker.wait()).await;
        }
        self.got.lock().unwrap().clone()
    }

    async fn connect(&self) -> TcpStream {
        // Not by turns of the runtime: a listener that resets at once would be faster.
        let stream = std::net::TcpStream::connect(self.client.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream).unwrap()
    }

    async fn refuses(&self) {
        let mut stream = self.connect().await;
        let _ = stream.write_all(b"hello").await;
        assert!(within(ended(&mut stream)).await);
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("in time")
}

async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            yield_now().await;
        }
    })
    .await;
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Echoes each connection until its end, then says goodbye. What it reads goes to `got` as well.
fn echo(got: Arc<Mutex<Vec<u8>>>) -> SocketAddr {
    let listener = bind_tcp("127.0.0.1:0".parse().unwrap(), "test").unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo_one(stream, Arc::clone(&got)));
        }
    });
    address
}

async fn echo_one(mut stream: TcpStream, got: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        got.lock().unwrap().extend_from_slice(&buffer[..length]);
        let _ = stream.write_all(&buffer[..length]).await;
    }
    let _ = stream.write_all(b" goodbye").await;
}

/// A process of another uid connects, writes and resets the connection: where it came from.
fn forge_and_vanish(target: SocketAddr) -> SocketAddr {
    let script = format!(
        "import socket, struct; s = socket.create_connection(('{}', {})); s.send(b'forged'); \
         print('%s:%d' % s.getsockname(), flush=True); \
         s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()",
        target.ip(),
        target.port()
    );
    let mut stranger = Command::new("python3");
    let said = forks::output(stranger.args(["-c", &script]).uid(54_321));
    let said = said.expect("a process of another uid needs root");
    String::from_utf8(said.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// Connects from a given address without giving the runtime a turn; `None` where a test beside this one
/// took its port in between.
fn connect_at_once(source: SocketAddr, target: SocketAddr) -> Option<TcpStream> {
    let family = rustix::net::AddressFamily::INET;
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).unwrap();
    match rustix::net::bind(&socket, &source) {
        Err(rustix::io::Errno::ADDRINUSE) => return None,
        bound => bound.unwrap(),
    }
    rustix::net::connect(&socket, &target).unwrap();
    let stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(true).unwrap();
    Some(TcpStream::from_std(stream).unwrap())
}

async fn ping(stream: &mut TcpStream) {
    let mut answer = [0; 4];
    stream.write_all(b"ping").await.unwrap();
    within(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"ping");
}

/// What is logged in this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn kept() -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        (lines, tracing::subscriber::set_default(subscriber.finish()))
    }

    /// Whether one line has all of these.
    fn tell(&self, parts: &[&str]) -> bool {
        let lines = self.0.lock().unwrap();
        let mut lines = std::str::from_utf8(&lines).unwrap().lines();
        lines.any(|line| parts.iter().all(|part| line.contains(part)))
    }
}

/// Whether the other end closes without having said anything.
async fn ended(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn bytes_cross_two_sidecars() {
    let mesh = Mesh::up().await;
    let mut stream = mesh.connect().await;
    ping(&mut stream).await;
    mesh.client.served(1).await;
    mesh.server.served(2).await;
    let text = mesh.server.metric();
    assert!(
        text.contains(r#"tls_handshakes_total{side="inbound",result="ok"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn half_close_leaves_the_answer_to_come() {
    let mesh = Mesh::up().await;
    let mut stream = mesh.connect().await;
    stream.write_all(b"question").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "question goodbye");
}

#[tokio::test]
async fn no_backlog_waits_for_the_identity() {
    let mesh = Mesh::bound(AttestCallers::Uid, "/client", "/web");
    let mut early = mesh.connect().await;
    let _ = early.write_all(b"early").await;
    assert!(within(ended(&mut early)).await);
    mesh.hold("/client", uid()).await;
    ping(&mut mesh.connect().await).await;
    assert_eq!(mesh.drained().await, b"ping");
}

/// The bytes of a connection that was reset stay readable on our side of it, and the kernel names
/// whoever has the same pair of addresses now.
#[tokio::test]
async fn a_dead_connection_lends_no_identity() {
    let mesh = Mesh::up().await;
    // The runtime of this test has one thread: nothing is accepted until the next await.
    let attempt = || connect_at_once(forge_and_vanish(mesh.client.address), mesh.client.address);
    let honest = std::iter::repeat_with(attempt).take(20).flatten().next();
    let mut honest = honest.expect("its port is not always taken");
    ping(&mut honest).await;
    drop(honest);
    assert_eq!(mesh.drained().await, b"ping", "what the workload got");
}

#[tokio::test]
async fn peers_off_the_allow_list_are_refused() {
    let mesh = Mesh::bound(AttestCallers::Uid, "/stranger", "/web");
    mesh.hold("/stranger", uid()).await;
    mesh.refuses().await;
    until(|| {
        mesh.server
            .metric()
            .contains(r#"side="inbound",result="peer_not_accepted"} 1"#)
    })
    .await;
}

#[tokio::test]
async fn an_unexpected_server_is_refused() {
    let mesh = Mesh::bound(AttestCallers::Uid, "/client", "/db");
    mesh.hold("/client", uid()).await;
    mesh.refuses().await;
    until(|| {
        mesh.client
            .metric()
            .contains(r#"side="outbound",result="peer_not_accepted"} 1"#)
    })
    .await;
}

#[tokio::test]
async fn callers_of_another_uid_are_refused() {
    let mesh = Mesh::up().await;
    mesh.client.hold(&mesh.authority, "/client", 3, uid() + 1);
    mesh.client.presents("/client", 3).await;
    mesh.refuses().await;
    let text = mesh.client.metric();
    assert!(
        !text.contains(r#"tls_handshakes_total{side="outbound""#),
        "{text}"
    );
}

#[tokio::test]
async fn a_service_of_another_uid_gets_nothing() {
    let mesh = Mesh::up().await;
    mesh.server.hold(&mesh.authority, "/web", 3, uid() + 1);
    mesh.server.presents("/web", 3).await;
    mesh.refuses().await;
}

/// Apache listens so by default: nobody accepts before the client has said something.
#[tokio::test]
async fn a_workload_that_defers_its_accept_is_served() {
    let script = "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0))\n\
                  s.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60); s.listen()\n\
                  print('%s:%d' % s.getsockname(), flush=True)\nc, _ = s.accept()\n\
                  while c.send(c.recv(64)): pass";
    let mut workload = Command::new("python3");
    let workload = workload.args(["-c", script]).stdout(Stdio::piped());
    let mut workload = forks::spawn(workload).unwrap();
    let mut address = String::new();
    let mut said = std::io::BufReader::new(workload.stdout.take().unwrap());
    said.read_line(&mut address).unwrap();
    let mesh = Mesh::forwarding(address.trim().parse().unwrap()).await;
    ping(&mut mesh.connect().await).await;
    workload.kill().unwrap();
    workload.wait().unwrap();
}

#[tokio::test]
async fn a_workload_that_is_slow_to_accept_is_waited_for() {
    let workload = bind_tcp("127.0.0.1:0".parse().unwrap(), "test").unwrap();
    let mesh = Mesh::forwarding(workload.local_addr().unwrap()).await;
    let mut stream = mesh.connect().await;
    stream.write_all(b"ping").await.unwrap();
    mesh.server.served(2).await;
    let (accepted, _) = within(workload.accept()).await.unwrap();
    tokio::spawn(echo_one(accepted, Arc::default()));
    let mut answer = [0; 4];
    within(stream.read_exact(&mut answer)).await.unwrap();
}

/// A workload that accepts nothing, and a connection that waits for it.
async fn waiting() -> (TcpListener, Mesh, TcpStream) {
    let workload = bind_tcp("127.0.0.1:0".parse().unwrap(), "test").unwrap();
    let mesh = Mesh::forwarding(workload.local_addr().unwrap()).await;
    let stream = mesh.connect().await;
    mesh.server.served(2).await;
    (workload, mesh, stream)
}

#[tokio::test]
async fn a_peer_that_leaves_waits_for_no_workload() {
    let (_workload, mesh, stream) = waiting().await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    until(|| mesh.server.refused("peer_left")).await;
}

#[tokio::test]
async fn a_right_that_ends_waits_for_no_workload() {
    let (_workload, mesh, mut stream) = waiting().await;
    mesh.server.lose_everything();
    assert!(within(ended(&mut stream)).await);
}

#[tokio::test]
async fn only_so_many_wait_for_a_workload() {
    let workload = bind_tcp("127.0.0.1:0".parse().unwrap(), "test").unwrap();
    let address = workload.local_addr().unwrap();
    let mesh = Mesh::up().await;
    let presented = mesh.server.identities.of(&id("/web")).unwrap().presented();
    let (made, peer) = (
        TcpStream::connect(address).await.unwrap(),
        mesh.connect().await,
    );
    let admit = callers::admit_workload;
    let refused = admit(&made, &presented.unwrap(), &peer, &Semaphore::new(0)).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("1024 connections wait")
    );
}

#[tokio::test]
async fn any_right_to_the_identity_admits_its_uid() {
    let mesh = Mesh::up().await;
    // The older right is that of another user; ours is as good.
    mesh.server.hold_under(
        &mesh.authority,
        3,
        &[right('2', "/web", uid() + 1), right('3', "/web", uid())],
    );
    mesh.server.presents("/web", 3).await;
    ping(&mut mesh.connect().await).await;
}

#[tokio::test]
async fn a_right_that_ended_admits_nobody_by_its_successor() {
    let mesh = Mesh::up().await;
    let mut stream = mesh.connect().await;
    ping(&mut stream).await;
    // Our right is gone; that of another user is there, its certificate not yet.
    let other = Held {
        entitlement: Arc::new(right('2', "/web", uid() + 1)),
        svid: None,
        problem: None,
    };
    mesh.server.holdings.publish(|snapshot| {
        snapshot.entries = Arc::new([(other.entitlement.id.clone(), other.clone())].into());
    });
    assert!(within(ended(&mut stream)).await);
    mesh.refuses().await;
    // With the certificate the old right still admits nobody.
    mesh.server.hold(&mesh.authority, "/web", 9, uid() + 1);
    mesh.server.presents("/web", 9).await;
    mesh.refuses().await;
}

#[tokio::test]
async fn selectors_beyond_a_uid_are_told_with_the_remedy() {
    for (attest, told) in [(AttestCallers::Uid, true), (AttestCallers::Netns, false)] {
        let mesh = Mesh::bound(attest, "/client", "/web");
        let mut narrow = right('1', "/web", uid());
        let selectors = [Selector::UnixUid(uid()), Selector::UnixGid(0)];
        narrow.kind = EntitlementKind::Workload(SelectorSet::new(selectors).unwrap());
        mesh.server.hold_under(&mesh.authority, 3, &[narrow]);
        mesh.server.presents("/web", 3).await;
        let hindrance = mesh.server.listening[0].hindrance(Timestamp::UNIX_EPOCH);
        assert_eq!(hindrance.is_some(), told);
        assert!(hindrance.is_none_or(|why| why.contains("attest_callers = \"netns\"")));
    }
}

#[tokio::test]
async fn a_private_namespace_needs_no_owner() {
    let mesh = Mesh::bound(AttestCallers::Netns, "/client", "/web");
    mesh.hold("/client", uid() + 1).await;
    ping(&mut mesh.connect().await).await;
}

/// A line of a flood is left out at times, so each is caused until it is there.
#[tokio::test]
async fn a_refused_peer_is_told_by_name_and_rule() {
    let (lines, _guard) = Lines::kept();
    let mesh = Mesh::bound(AttestCallers::Uid, "/client", "/web");
    mesh.hold("/client", uid()).await;
    let rights = [right('1', "/client", uid())];
    let mut expired = mesh.authority.expired(&id("/client"), serial(3));
    // The client's clock is slow: it does not know.
    expired.lifetime.not_after = Timestamp::MAX;
    mesh.client.hold_svid(expired, &rights);
    mesh.client.presents("/client", 3).await;
    let told = [
        "WARN",
        r#"listener="inbound[0]""#,
        "peer_id=spiffe://example.org/client",
        r#"reason="expired""#,
        "the peer's certificate has expired",
    ];
    until_caused(&mesh, || lines.tell(&told)).await;
    assert!(mesh.server.refused("expired"));
    // TLS tells the client when its handshake is over.
    let told = [
        "WARN",
        r#"listener="outbound[0]""#,
        r#"reason="peer_alert""#,
    ];
    until_caused(&mesh, || lines.tell(&told)).await;
    assert!(mesh.client.refused("peer_alert"));
}

#[tokio::test]
async fn a_peer_off_the_list_is_told_by_its_id() {
    let (lines, _guard) = Lines::kept();
    let mesh = Mesh::bound(AttestCallers::Uid, "/stranger", "/web");
    mesh.hold("/stranger", uid()).await;
    let told = [
        "WARN",
        r#"listener="inbound[0]""#,
        "peer_id=spiffe://example.org/stranger",
        r#"reason="peer_not_accepted""#,
        "is not among those that this side accepts",
    ];
    until_caused(&mesh, || lines.tell(&told)).await;
    assert!(mesh.server.refused("peer_not_accepted"));
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_told() {
    let (lines, _guard) = Lines::kept();
    let mesh = Mesh::up().await;
    let trust = TrustCell::new([mesh.authority.bundle()].into_iter().collect::<BundleSet>());
    let rule = PeerRule::OneOf([id("/web")].into());
    let anonymous = TlsConnector::from(client_config(None, trust, rule, &[]));
    let told = [
        "WARN",
        r#"reason="no_certificate""#,
        "the peer presents no certificate",
    ];
    within(async {
        while !lines.tell(&told) {
            let stream = TcpStream::connect(mesh.server.address).await.unwrap();
            let name = mesh.server.address.ip().into();
            let mut tls = anonymous.connect(name, stream).await.unwrap();
            assert!(tls.read(&mut [0; 1]).await.is_err());
        }
    })
    .await;
    assert!(mesh.server.refused("no_certificate"));
}

#[tokio::test]
async fn an_expired_identity_is_said_the_same_everywhere() {
    const WORDS: &str = "the certificate of the identity expired at 2026-01-01T00:00:00Z";
    for loser in 0..2 {
        let (lines, _guard) = Lines::kept();
        let mesh = Mesh::up().await;
        let node = [&mesh.client, &mesh.server][loser];
        let path = ["/client", "/web"][loser];
        let expired = mesh.authority.expired(&id(path), serial(3));
        node.hold_svid(expired, &[right('1', path, uid())]);
        node.presents(path, 3).await;
        let listener = node.listening[0].clone();
        until_caused(&mesh, || {
            lines.tell(&["WARN", &format!("{:?}", listener.name), WORDS])
        })
        .await;
        assert!(node.refused("identity_expired"));
        let hindrance = listener.hindrance(clock::now()).unwrap();
        assert!(hindrance.starts_with(WORDS), "{hindrance}");
        assert_eq!(node.row_of_status(), Some(hindrance.into_owned()));
        let served = [
            "first handshake with a new certificate",
            &serial(3).to_string(),
        ];
        assert!(!lines.tell(&served));
        // A newer one mends it.
        node.hold(&mesh.authority, path, 7, uid());
        node.presents(path, 7).await;
        assert_eq!(listener.hindrance(clock::now()), None);
        ping(&mut mesh.connect().await).await;
    }
}

/// Connects until a condition holds; each connection must be refused by a reset, which no caller
/// takes for an answer.
async fn until_caused(mesh: &Mesh, condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            let read = mesh.connect().await.read(&mut [0; 1]).await;
            let error = read.expect_err("an end is an empty answer");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    })
    .await;
}

#[tokio::test]
async fn no_connection_is_dropped_by_a_routine_rotation() {
    let mesh = Mesh::up().await;
    let mut old = mesh.connect().await;
    ping(&mut old).await;
    for index in 10..30 {
        mesh.client.hold(&mesh.authority, "/client", index, uid());
        mesh.server
            .hold(&mesh.authority, "/web", 100 + index, uid());
        mesh.client.presents("/client", index).await;
        mesh.server.presents("/web", 100 + index).await;
        ping(&mut old).await;
        // New handshakes use the new certificate at once.
        ping(&mut mesh.connect().await).await;
        mesh.client.served(index).await;
        mesh.server.served(100 + index).await;
    }
}

#[tokio::test]
async fn a_removed_right_stops_within_the_bound_while_connected() {
    for (loser, name) in [(0, "client"), (1, "server")] {
        let mesh = Mesh::up().await;
        let mut stream = mesh.connect().await;
        ping(&mut stream).await;
        let node = [&mesh.client, &mesh.server][loser];
        node.lose_everything();
        assert!(within(ended(&mut stream)).await, "{name}");
        mesh.refuses().await;
        // The right comes back: so does the service.
        let (path, index) = [("/client", 7), ("/web", 8)][loser];
        node.hold(&mesh.authority, path, index, uid());
        node.presents(path, index).await;
        ping(&mut mesh.connect().await).await;
    }
}

#[tokio::test]
async fn junk_harms_its_own_connection_alone() {
    let mesh = Mesh::up().await;
    let mut old = mesh.connect().await;
    ping(&mut old).await;
    let mut junk = TcpStream::connect(mesh.server.address).await.unwrap();
    junk.write_all(&[0x5a; 4_096]).await.unwrap();
    let drained = async { while junk.read(&mut [0; 512]).await.is_ok_and(|n| n > 0) {} };
    within(drained).await;
    ping(&mut old).await;
    ping(&mut mesh.connect().await).await;
}

#[tokio::test]
async fn a_drain_waits_for_open_connections() {
    let mesh = Mesh::up().await;
    let mut stream = mesh.connect().await;
    ping(&mut stream).await;
    mesh.client.stop.cancel();
    mesh.client.tracker.close();
    let draining = mesh.client.tracker.wait();
    tokio::pin!(draining);
    ping(&mut stream).await;
    assert!(futures_util::poll!(&mut draining).is_pending());
    drop(stream);
    within(draining).await;
}

#[tokio::test]
async fn a_silent_handshake_is_cut() {
    let mesh = Mesh::bound(AttestCallers::Uid, "/client", "/web");
    mesh.hold("/client", uid()).await;
    let mut silent = TcpStream::connect(mesh.server.address).await.unwrap();
    let started = tokio::time::Instant::now();
    assert!(within(ended(&mut silent)).await);
    assert!(started.elapsed() >= countersign_serve::limits::HANDSHAKE_DEADLINE);
}

#[tokio::test]
async fn a_port_in_use_names_its_setting() {
    let taken = bind_tcp("127.0.0.1:0".parse().unwrap(), "test").unwrap();
    let listener = Inbound {
        listen: taken.local_addr().unwrap(),
        forward: "127.0.0.1:1".parse().unwrap(),
        identity: id("/web"),
        allow: vec![id("/client")],
        attest_callers: AttestCallers::Uid,
    };
    let trust = TrustCell::new([].into_iter().collect());
    let counted = counters(1, 0);
    let bound = Proxy::bind(
        (&[listener], &[]),
        (&trust, Clock::of_system()),
        &Arc::default(),
        counted,
    );
    let error = bound.unwrap_err();
    assert_eq!(error.setting, "inbound[0].listen");
}
