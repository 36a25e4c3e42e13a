//! Who proved nothing takes nothing from who is recognised.

use std::net::Ipv4Addr;

use super::*;
use crate::limits::MAX_HANDSHAKE_BYTES;
use crate::testing::{connect_from, dial_from, is_child, run_as_child_in};

/// Longer than any test: where somebody waits for it, the bound of the test is what ends it.
const NEVER: Duration = Duration::from_secs(3_600);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const MANY: u32 = 200;

impl Server {
    /// One that takes everybody; its client is recognised.
    async fn open(limits: Limits) -> Self {
        let pki = Pki::shared();
        Self::with(pki.open_server(), pki.client(), limits).await
    }
}

/// Gives a network namespace an address beside those of loopback, which are one source.
const ANOTHER_SOURCE: &str = r#"python3 -c '
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
SIOCSIFFLAGS, SIOCSIFADDR, UP = 0x8914, 0x8916, 1
fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", UP))
address = socket.inet_aton("192.0.2.1")
fcntl.ioctl(s, SIOCSIFADDR, struct.pack("16sH2x4s16x", b"lo:1", socket.AF_INET, address))
'"#;

/// The loopback address of a stranger: one for all, or one for each.
fn source(number: u32, spread: bool) -> Ipv4Addr {
    let first = u32::from(Ipv4Addr::new(127, 1, 0, 1));
    Ipv4Addr::from(first + if spread { number } else { 0 })
}

/// Strangers with a finished handshake, each kept open and alive at the server.
async fn strangers(
    server: &mut Server,
    spread: bool,
) -> (Vec<impl Sized + use<>>, Vec<TlsConnection>) {
    let client = Pki::stranger();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for number in 0..MANY {
        let mut stranger = dial_from(source(number, spread), server.port, &client)
            .await
            .unwrap();
        stranger.write_all(PREFACE).await.unwrap();
        theirs.push(stranger);
        ours.push(server.next().await);
    }
    (theirs, ours)
}

/// How many of these connections the server has cut.
async fn count_cut(connections: &mut [TlsConnection]) -> usize {
    let mut cut = 0;
    for connection in connections {
        let read = timeout(SHORT / 20, connection.read_to_end(&mut Vec::new())).await;
        cut += usize::from(matches!(read, Ok(Err(_))));
    }
    cut
}

#[tokio::test]
async fn recognised_peer_is_served_beside_any_flood() {
    for spread in [false, true] {
        let mut server = Server::open(Limits {
            max_strangers: 16,
            max_pending_handshakes: 32,
            max_connections: 4,
            handshake_deadline: NEVER,
            first_byte_deadline: NEVER,
            stranger_lifetime: NEVER,
            ..Limits::default()
        })
        .await;
        let (_theirs, mut ours) = strangers(&mut server, spread).await;
        let mut half_open = Vec::new();
        for number in 0..MANY {
            half_open.push(
                connect_from(source(number, spread), server.port)
                    .await
                    .unwrap(),
            );
        }
        for _ in 0..3 {
            server.serves().await;
        }
        let many = MANY as usize;
        assert_eq!(count_cut(&mut ours).await, many - 16, "spread: {spread}");
        assert_eq!(server.counters.strangers.displaced(), many as u64 - 16);
        assert_eq!(
            server.counters.crowded().unwrap(),
            "all 16 places of strangers are taken"
        );
        assert!(server.counters.handshakes.displaced() >= u64::from(MANY) - 32);
        assert_eq!(server.counters.refused.value(), 0);
    }
}

/// A stranger of a quiet source keeps its place beside a source that floods.
#[tokio::test]
async fn flooding_source_displaces_no_other() {
    if !is_child() {
        let test = "tls::tests::strangers::flooding_source_displaces_no_other";
        return run_as_child_in("--net", ANOTHER_SOURCE, test);
    }
    let mut server = Server::open(Limits {
        max_strangers: 16,
        ..Limits::default()
    })
    .await;
    let client = Pki::stranger();
    let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
    let mut quiet = dial_from(elsewhere, server.port, &client).await.unwrap();
    let mut served = server.next().await;
    // From every loopback address: the flood is one source all the same.
    let _flood = strangers(&mut server, true).await;
    quiet.write_all(b"still here").await.unwrap();
    let mut word = [0; 10];
    soon(served.read_exact(&mut word)).await.unwrap();
}

#[tokio::test]
async fn stranger_is_gone_in_time_though_it_talks() {
    let mut server = Server::open(Limits {
        stranger_lifetime: SHORT,
        ..Limits::default()
    })
    .await;
    let client = Pki::stranger();
    let mut stranger = dial(server.port, &client).await.unwrap();
    let mut served = server.next().await;
    let talking = tokio::spawn(async move {
        while stranger.write_all(PREFACE).await.is_ok() {
            tokio::time::sleep(SHORT / 20).await;
        }
    });
    let ended = soon(served.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    assert_eq!(server.counters.overdue.value(), 1);
    drop(served);
    soon(talking).await.unwrap();
    assert_eq!(server.counters.strangers.open(), 0);
}

#[tokio::test]
async fn stranger_says_little_and_a_node_what_it_likes() {
    let limits = Limits {
        max_stranger_bytes: 10_000,
        ..Limits::default()
    };
    let mut server = Server::open(limits).await;
    for (client, is_cut) in [(Pki::stranger(), true), (server.client.clone(), false)] {
        let mut peer = dial(server.port, &client).await.unwrap();
        let mut served = server.next().await;
        peer.write_all(&[7; 10_000]).await.unwrap();
        soon(served.read_exact(&mut [0; 10_000])).await.unwrap();
        peer.write_all(&[7]).await.unwrap();
        let one_more = soon(served.read_u8()).await;
        assert_eq!(one_more.is_err(), is_cut);
        assert_eq!(served.write_all(&[7]).await.is_err(), is_cut);
    }
}

#[tokio::test]
async fn node_that_indexes_paths_without_end_is_cut() {
    let mut server = Server::open(Limits::default()).await;
    let mut node = dial(server.port, &server.client).await.unwrap();
    let mut served = server.next().await;
    node.write_all(PREFACE).await.unwrap();
    let path = [0, 0, 4, 1, 4, 0, 0, 0, 1, 0x44, 2, b'/', b'a'];
    node.write_all(&path.repeat(100)).await.unwrap();
    let cut = soon(served.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::ConnectionAborted);
}

/// A stranger that reads nothing keeps the writing side busy, and no read is asked for.
#[tokio::test]
async fn stranger_is_gone_in_time_though_it_reads_nothing() {
    let mut server = Server::open(Limits {
        stranger_lifetime: SHORT,
        ..Limits::default()
    })
    .await;
    let client = Pki::stranger();
    let _deaf = dial(server.port, &client).await.unwrap();
    let mut served = server.next().await;
    let ended = soon(async {
        loop {
            if let Err(error) = served.write_all(&[0; 65_536]).await {
                return error;
            }
        }
    });
    assert_eq!(ended.await.kind(), io::ErrorKind::TimedOut);
}

/// An identity alone is no standing: the daemon's word is.
#[tokio::test]
async fn workload_is_a_stranger() {
    let mut server = Server::open(Limits::default()).await;
    let workload = Pki::shared().client_as(WORKLOAD);
    let _theirs = dial(server.port, &workload).await.unwrap();
    let _ours = server.next().await;
    assert_eq!(server.counters.strangers.open(), 1);
    assert_eq!(server.counters.connections.open(), 0);
}

#[tokio::test]
async fn recognised_peer_outstays_a_stranger() {
    let mut server = Server::open(Limits {
        stranger_lifetime: SHORT,
        ..Limits::default()
    })
    .await;
    let mut client = dial(server.port, &server.client).await.unwrap();
    client.write_all(PREFACE).await.unwrap();
    let mut served = server.next().await;
    let mut preface = [0; PREFACE.len()];
    soon(served.read_exact(&mut preface)).await.unwrap();
    assert!(
        timeout(SHORT * 2, served.read_u8()).await.is_err(),
        "it was cut"
    );
    assert_eq!(server.counters.connections.open(), 1);
}

/// A node that does not know that its old connections are lost gets its new one.
#[tokio::test]
async fn recognised_peer_displaces_its_own_oldest() {
    let mut server = Server::open(Limits {
        max_connections: 10,
        max_connections_per_identity: 2,
        ..Limits::default()
    })
    .await;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        theirs.push(dial(server.port, &server.client).await.unwrap());
        ours.push(server.next().await);
    }
    assert_eq!(server.counters.connections.open(), 2);
    assert_eq!(count_cut(&mut ours[..3]).await, 3);
    assert_eq!(count_cut(&mut ours[3..]).await, 0);
}

#[tokio::test]
async fn full_listener_refuses_and_cuts_nobody() {
    let mut server = Server::open(Limits {
        max_connections: 1,
        ..Limits::default()
    })
    .await;
    let other = Pki::shared().client_as("spiffe://example.org/other");
    let _theirs = dial(server.port, &other).await.unwrap();
    let _ours = server.next().await;
    let mut late = dial(server.port, &server.client).await.unwrap();
    closed(&mut late).await;
    assert_eq!(server.counters.refused.value(), 1);
    assert_eq!(server.counters.connections.displaced(), 0);
}

/// Records of one byte are 22 bytes of TLS each beside that byte.
#[tokio::test]
async fn stranger_that_says_much_in_tls_alone_is_cut() {
    const RECORDS: usize = 3 * MAX_HANDSHAKE_BYTES / 22;
    let mut server = Server::open(Limits::default()).await;
    for (client, is_cut) in [(Pki::stranger(), true), (server.client.clone(), false)] {
        let mut peer = dial(server.port, &client).await.unwrap();
        let mut served = server.next().await;
        let saying = tokio::spawn(async move {
            for _ in 0..RECORDS {
                peer.write_all(&[7]).await?;
                peer.flush().await?;
            }
            Ok::<_, io::Error>(peer)
        });
        let read = soon(served.read_exact(&mut [0; RECORDS])).await;
        let error = read.err().map(|error| error.kind());
        assert_eq!(error, is_cut.then_some(io::ErrorKind::ConnectionAborted));
        drop(served);
        let _ = soon(saying).await.unwrap();
    }
}

/// TLS keeps an unfinished message of a handshake, however long it says that it is.
#[tokio::test]
async fn handshake_that_is_too_long_is_cut() {
    let server = Server::open(Limits::default()).await;
    let mut peer = TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap();
    // A ClientHello of 60 kB (RFC 8446 section 4), in records of 8 KiB.
    let mut record = vec![22, 3, 1, 0x20, 0];
    record.extend([1, 0, 0xea, 0x60]);
    record.resize(5 + 8_192, 0);
    peer.write_all(&record).await.unwrap();
    record[5..9].fill(0);
    for _ in 0..3 {
        // Whoever is cut notices here, or below.
        let _ = peer.write_all(&record).await;
    }
    closed(&mut peer).await;
    eventually(|| server.counters.failed.value() == 1).await;
}
