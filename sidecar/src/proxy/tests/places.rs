//! Whom a listener serves when it is full.

use super::*;

/// A limit that leaves a listener very few places: 8 before anything is proved, and 28 open ones.
const FEW: usize = 192;
const STRANGER: u32 = 54_321;
const UNPROVED: usize = 8;
const OPEN: usize = 28;
/// Three quarters of the open ones: the share of one peer.
const SHARE: usize = 21;

/// As [`Mesh::up`], with few places at the server.
async fn crowded() -> Mesh {
    let got = Arc::default();
    let workload = echo(Arc::clone(&got));
    let authority = Authority::new("root");
    let trust = TrustCell::new([authority.bundle()].into_iter().collect::<BundleSet>());
    let listener = Inbound {
        listen: "127.0.0.1:0".parse().unwrap(),
        forward: workload,
        identity: id("/web"),
        allow: vec![id("/client"), id("/other")],
        attest_callers: AttestCallers::Uid,
    };
    let server = Node::start_within(Descriptors::of_limit(FEW), &[listener], &[], &trust);
    let client = Node::outbound(&trust, server.address, "/client", "/web");
    let mesh = Mesh {
        authority,
        client,
        server,
        got,
    };
    mesh.hold("/client", uid()).await;
    mesh
}

/// Another peer of the same server.
async fn other_client(mesh: &Mesh) -> Node {
    let trust = TrustCell::new([mesh.authority.bundle()].into_iter().collect::<BundleSet>());
    let other = Node::outbound(&trust, mesh.server.address, "/other", "/web");
    other.hold(&mesh.authority, "/other", 3, uid());
    other.presents("/other", 3).await;
    other
}

#[test]
fn low_limit_leaves_few_places() {
    let caps = Caps::share(&mut Descriptors::of_limit(FEW), "inbound[0]", 1);
    assert_eq!((caps.unproved, caps.open), (UNPROVED, OPEN));
    let usual = Caps::share(&mut Descriptors::of_limit(1_048_576), "inbound[0]", 4);
    assert_eq!((usual.unproved, usual.open), (1_024, 16_384));
}

#[tokio::test]
async fn stalled_handshakes_keep_nobody_out() {
    let mesh = crowded().await;
    let mut stalled = Vec::new();
    for _ in 0..3 * OPEN {
        stalled.push(TcpStream::connect(mesh.server.address).await.unwrap());
    }
    ping(&mut mesh.connect().await).await;
    // The oldest are gone already.
    assert!(within(ended(&mut stalled[0])).await);
    let usage = mesh.server.listening[0].counters.usage();
    assert_eq!(
        (usage.handshakes.bound, usage.connections.bound),
        (UNPROVED, OPEN)
    );
    assert_eq!(usage.connections.taken, 1);
    assert!(
        usage.turned_away >= (3 * OPEN - UNPROVED) as u64,
        "{usage:?}"
    );
}

#[tokio::test]
async fn greedy_peer_leaves_places_to_others_and_keeps_its_own() {
    let mesh = crowded().await;
    let mut open = Vec::new();
    for _ in 0..SHARE {
        let mut stream = mesh.connect().await;
        ping(&mut stream).await;
        open.push(stream);
    }
    mesh.refuses().await;
    let counters = &mesh.server.listening[0].counters;
    assert_eq!(counters.usage().connections.taken, SHARE);
    assert!(counters.refused.value() > 0);
    let other = other_client(&mesh).await;
    ping(&mut TcpStream::connect(other.address).await.unwrap()).await;
    for stream in &mut open {
        ping(stream).await;
    }
    drop(open.pop());
    // Its place is free once both ends have seen the end.
    within(async {
        loop {
            let mut stream = mesh.connect().await;
            stream.write_all(b"ping").await.unwrap();
            if !ended(&mut stream).await {
                break;
            }
        }
    })
    .await;
}

/// What another local user gets who sends "ping" through a listener.
async fn ping_of_a_stranger(target: SocketAddr) -> String {
    let script = format!(
        "import socket; s = socket.create_connection(('{}', {})); s.settimeout(20); \
         s.sendall(b'ping'); print(s.recv(4).decode())",
        target.ip(),
        target.port()
    );
    let mut stranger = Command::new("python3");
    stranger.args(["-c", &script]).uid(STRANGER);
    let said = tokio::task::spawn_blocking(move || forks::output(&mut stranger));
    let said = said.await.unwrap().expect("another uid needs root");
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// They all come from loopback: the kernel says whose connection it is.
#[tokio::test]
async fn greedy_local_user_leaves_places_to_another() {
    let mut mesh = Mesh::up().await;
    let trust = TrustCell::new([mesh.authority.bundle()].into_iter().collect::<BundleSet>());
    let listener = Outbound {
        listen: "127.0.0.1:0".parse().unwrap(),
        connect: mesh.server.address,
        identity: id("/client"),
        expect: vec![id("/web")],
        attest_callers: AttestCallers::Uid,
    };
    mesh.client = Node::start_within(Descriptors::of_limit(FEW), &[], &[listener], &trust);
    let rights = [
        right('1', "/client", uid()),
        right('2', "/client", STRANGER),
    ];
    mesh.client.hold_under(&mesh.authority, 4, &rights);
    mesh.client.presents("/client", 4).await;
    let mut open = Vec::new();
    for _ in 0..SHARE {
        let mut stream = mesh.connect().await;
        ping(&mut stream).await;
        open.push(stream);
    }
    mesh.refuses().await;
    assert_eq!(ping_of_a_stranger(mesh.client.address).await, "ping");
    for stream in &mut open {
        ping(stream).await;
    }
}
