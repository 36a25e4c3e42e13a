use std::time::Duration;

use countersign_verify::tls::{
    ClientAuth, IdentityCell, PeerRule, TrustCell, certified_key, client_config, server_config,
};
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::super::dial::ALPN;
use super::*;
use crate::pki::{Authority, serial, trust_domain};

const BOUND: Duration = Duration::from_secs(20);
const KEEPALIVE: Keepalive = Keepalive {
    interval: BOUND,
    timeout: BOUND,
};
/// An empty frame of HTTP/2 settings (RFC 9113 section 6.5).
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// An address that answers no handshake of TCP: its backlog is full, and the kernel drops what
/// comes for it.
struct Silent {
    address: SocketAddr,
    _listener: TcpListener,
    _backlog: TcpStream,
}

impl Silent {
    async fn open() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let backlog = TcpStream::connect(address).await.unwrap();
        let dropped = timeout(Duration::from_millis(100), TcpStream::connect(address)).await;
        assert!(dropped.is_err(), "it answers");
        Self {
            address,
            _listener: listener,
            _backlog: backlog,
        }
    }
}

fn identity(authority: &Authority, path: &str) -> Arc<IdentityCell> {
    let svid = authority.svid(&crate::pki::id(path), serial(1));
    let identity = IdentityCell::empty();
    identity.install(certified_key(svid.chain.clone(), &svid.key).unwrap());
    identity
}

/// A server that presents this identity, speaks first as HTTP/2 lets it, and keeps every connection.
async fn serve(authority: &Authority, id: Option<&str>) -> (SocketAddr, JoinHandle<()>) {
    let identity = id.map_or_else(IdentityCell::empty, |path| identity(authority, path));
    let trust = TrustCell::new([authority.bundle()].into_iter().collect());
    let rule = PeerRule::Member(trust_domain());
    let config = server_config(identity, trust, rule, ClientAuth::Optional, &[ALPN]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(accept(listener, config)))
}

async fn accept(listener: TcpListener, config: Arc<ServerConfig>) {
    let mut open = Vec::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let accepted = TlsAcceptor::from(Arc::clone(&config)).accept(stream).await;
        if let Ok(mut stream) = accepted {
            stream.write_all(SETTINGS).await.unwrap();
            stream.flush().await.unwrap();
            open.push(stream);
        }
    }
}

async fn control_plane(authority: &Authority) -> SocketAddr {
    serve(authority, Some("/countersign/control-plane")).await.0
}

fn tls(authority: &Authority) -> Arc<ClientConfig> {
    tls_of(None, authority)
}

fn tls_of(identity: Option<Arc<IdentityCell>>, authority: &Authority) -> Arc<ClientConfig> {
    let rule = PeerRule::OneOf([trust_domain().control_plane()].into());
    let trust = TrustCell::new([authority.bundle()].into_iter().collect());
    client_config(identity, trust, rule, &[ALPN])
}

/// One name that resolves to these.
fn named(resolved: &[SocketAddr]) -> Addresses {
    let resolved = resolved.to_vec();
    let resolver = move |_, _| -> Resolution {
        let resolved = resolved.clone();
        Box::pin(async move { Ok(resolved) })
    };
    let name = "https://control-plane.test".parse().unwrap();
    Addresses::resolved_by(vec![name], Arc::new(resolver), in_order)
}

fn listed(addresses: &[SocketAddr]) -> Addresses {
    let uri = |at: &SocketAddr| format!("https://{at}").parse().unwrap();
    Addresses::new(addresses.iter().map(uri).collect(), in_order)
}

/// Draws by which a list keeps its order.
fn in_order() -> f64 {
    1.0
}

async fn dial(addresses: &mut Addresses, authority: &Authority) -> Result<Reached, Unreached> {
    timeout(BOUND, addresses.dial(&tls(authority), KEEPALIVE))
        .await
        .expect("within the bound")
}

#[tokio::test]
async fn address_that_drops_packets_hides_no_other() {
    let authority = Authority::new("root");
    let (silent, good) = (Silent::open().await, control_plane(&authority).await);
    for (mut addresses, head_start) in [
        (named(&[silent.address, good]), HEAD_START_OF_RESOLVED),
        (listed(&[silent.address, good]), HEAD_START_OF_CONFIGURED),
    ] {
        let began = std::time::Instant::now();
        let reached = dial(&mut addresses, &authority).await.unwrap();
        assert!(reached.address.contains(&good.to_string()));
        assert!(began.elapsed() >= head_start);
        let [failure] = &reached.failures[..] else {
            panic!("{:?}", reached.failures);
        };
        assert!(failure.address.contains(&silent.address.to_string()));
        assert!(matches!(failure.error, DialError::Overtaken), "{failure}");
    }
}

#[tokio::test]
async fn server_that_says_nothing_hides_no_other() {
    let authority = Authority::new("root");
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = control_plane(&authority).await;
    let mut addresses = named(&[mute.local_addr().unwrap(), good]);
    let reached = dial(&mut addresses, &authority).await.unwrap();
    assert!(reached.address.contains(&good.to_string()));
}

#[tokio::test]
async fn every_address_must_prove_to_be_the_control_plane() {
    let (authority, other) = (Authority::new("root"), Authority::new("other"));
    let (node, _served) = serve(&authority, Some("/node/a")).await;
    let foreign = control_plane(&other).await;
    let error = dial(&mut listed(&[node, foreign]), &authority)
        .await
        .unwrap_err();
    assert!(error.is_unproven());
    let text = error.to_string();
    for part in [
        "the peer spiffe://example.org/node/a is not among those",
        "no root of the trust bundle",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let good = control_plane(&authority).await;
    let reached = dial(&mut named(&[node, foreign, good]), &authority)
        .await
        .unwrap();
    assert!(reached.address.contains(&good.to_string()));
    assert_eq!(reached.failures.len(), 2);
}

#[tokio::test]
async fn control_plane_without_a_ca_is_told() {
    let authority = Authority::new("root");
    let (address, _served) = serve(&authority, None).await;
    let error = dial(&mut listed(&[address]), &authority).await.unwrap_err();
    assert!(matches!(error.0[0].error, DialError::NoIdentity), "{error}");
    assert!(error.to_string().contains("countersign ca status"));
}

#[tokio::test]
async fn useless_address_goes_to_the_end() {
    let authority = Authority::new("root");
    let mut good = Vec::new();
    for _ in 0..2 {
        good.push(control_plane(&authority).await);
    }
    for mut addresses in [named(&good), listed(&good)] {
        let mut taken = Vec::new();
        for _ in 0..3 {
            let reached = dial(&mut addresses, &authority).await.unwrap();
            taken.push(reached.address);
            let end = End {
                address: addresses.place_of(&reached.uri),
                was_steady: false,
                was_silent: false,
            };
            addresses.ended(end, Instant::now());
        }
        assert!(taken[0] != taken[1] && taken[0] == taken[2], "{taken:?}");
    }
}

#[tokio::test]
async fn name_without_address_says_so() {
    let authority = Authority::new("root");
    let error = dial(&mut named(&[]), &authority).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("control-plane.test") && text.contains("has no address"),
        "{text}"
    );
}

#[tokio::test]
async fn silent_resolver_has_a_deadline() {
    let resolver: Resolver = Arc::new(|_, _| Box::pin(std::future::pending()));
    let name = vec!["https://control-plane.test".parse().unwrap()];
    let mut addresses = Addresses::resolved_by(name, resolver, in_order);
    let error = addresses
        .dial(&tls(&Authority::new("root")), KEEPALIVE)
        .await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("resolving the name timed out"), "{text}");
}

#[test]
fn families_take_turns_within_the_bound() {
    let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let mixed = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1"].map(at);
    let ordered = families_in_turn(mixed.to_vec());
    assert_eq!(ordered, [mixed[0], mixed[3], mixed[1], mixed[2]]);
    let many = vec![mixed[0]; MAX_RESOLVED + 1];
    assert_eq!(families_in_turn(many).len(), MAX_RESOLVED);
}

#[tokio::test]
async fn refused_certificate_is_told_before_a_call() {
    let [authority, before] = ["root", "before"].map(Authority::new);
    let at = control_plane(&authority).await;
    let tls = tls_of(Some(identity(&before, "/node/a")), &authority);
    let mut addresses = listed(&[at]);
    let refused = timeout(BOUND, addresses.dial(&tls, KEEPALIVE))
        .await
        .unwrap();
    let refused = refused.unwrap_err();
    assert!(refused.is_refused(), "{refused}");
    let why = refused.to_string();
    assert!(
        why.ends_with("it trusts no issuer of our certificate"),
        "{why}"
    );
}
