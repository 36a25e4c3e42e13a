mod half_open;
mod strangers;
mod warnings;

use std::net::Ipv4Addr;
use std::pin::Pin;

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt as _};

use super::*;
use crate::accept::accept_tcp;
use crate::counters::Counters;
use crate::grpc::Connection as _;
use crate::limits::Limits;
use crate::testing::{
    CLIENT, Pki, closed, dial, eventually, exhaust_descriptors, is_child, run_as_child, soon, tls,
};
use crate::turnstile::Turnstile;

const LABEL: &[u8] = b"EXPORTER-test";
/// Who proves an identity that is none of a node.
const WORKLOAD: &str = "spiffe://example.org/workload";
const SHORT: Duration = Duration::from_millis(200);

struct Server {
    port: u16,
    client: Arc<rustls::ClientConfig>,
    counters: Arc<Counters>,
    connections: Pin<Box<dyn Stream<Item = io::Result<TlsConnection>> + Send>>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let (config, client) = tls();
        Self::with(config, client, limits).await
    }

    /// One that wants a client certificate, and a client that has one.
    async fn mutual() -> Self {
        let pki = Pki::shared();
        Self::with(pki.server(), pki.client(), Limits::default()).await
    }

    async fn with(
        config: Arc<ServerConfig>,
        client: Arc<rustls::ClientConfig>,
        limits: Limits,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counters = Arc::<Counters>::default();
        let service = TlsService {
            standing: Arc::new(|peer| match &peer.svid {
                Some(svid) if svid.id.as_str() != WORKLOAD => Standing::Recognised,
                _ => Standing::Stranger,
            }),
            limits,
            counters: Arc::clone(&counters),
            ..TlsService::new(config, LABEL)
        };
        let connections = incoming(listener, service);
        Self {
            port,
            client,
            counters,
            connections: Box::pin(connections),
        }
    }

    async fn hasty() -> Self {
        Self::start(Limits {
            handshake_deadline: SHORT,
            first_byte_deadline: SHORT,
            ..Limits::default()
        })
        .await
    }

    async fn raw(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    async fn next(&mut self) -> TlsConnection {
        soon(self.connections.next()).await.unwrap().unwrap()
    }

    /// A good client is served.
    async fn serves(&mut self) {
        let mut client = dial(self.port, &self.client).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let mut connection = self.next().await;
        let mut word = [0; 5];
        soon(connection.read_exact(&mut word)).await.unwrap();
        assert_eq!(&word, b"hello");
    }
}

fn client_hello(config: &Arc<rustls::ClientConfig>) -> Vec<u8> {
    let name = "localhost".try_into().unwrap();
    let mut session = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn both_ends_export_the_same_secret() {
    let mut server = Server::start(Limits::default()).await;
    let client = dial(server.port, &server.client).await.unwrap();
    let peer = server.next().await.peer();
    let (socket, session) = client.get_ref();
    let exported = session.export_keying_material([0; 32], LABEL, None);
    assert_eq!(peer.exporter, exported.unwrap());
    assert_ne!(peer.exporter, [0; 32]);
    assert_eq!(peer.address, socket.local_addr().unwrap());
    assert!(peer.svid.is_none(), "no certificate was asked for");
}

#[tokio::test]
async fn peer_and_exporter_are_of_this_session() {
    let mut server = Server::mutual().await;
    let mut exporters = Vec::new();
    for _ in 0..2 {
        let _client = dial(server.port, &server.client).await.unwrap();
        let peer = server.next().await.peer();
        assert_eq!(peer.svid.unwrap().id.to_string(), CLIENT);
        exporters.push(peer.exporter);
    }
    assert_ne!(exporters[0], exporters[1]);
}

#[tokio::test]
async fn foreign_client_is_refused_by_its_reason() {
    let mut server = Server::mutual().await;
    // In TLS 1.3 the client learns it on its first read.
    if let Ok(mut stream) = dial(server.port, &Pki::new("foreign").client()).await {
        closed(&mut stream).await;
    }
    eventually(|| server.counters.reasons() == [("unknown_issuer", 1)]).await;
    assert_eq!(server.counters.failed.value(), 1);
    assert_eq!(server.counters.served.value(), 0);
    server.serves().await;
}

#[tokio::test]
async fn silent_connection_is_cut() {
    let mut server = Server::hasty().await;
    let begun = Instant::now();
    closed(&mut server.raw().await).await;
    assert!(begun.elapsed() >= SHORT);
    eventually(|| server.counters.reasons() == [("deadline", 1)]).await;
    assert_eq!(server.counters.late.value(), 1);
    server.serves().await;
}

#[tokio::test]
async fn dripping_handshake_is_cut() {
    let server = Server::hasty().await;
    let mut stream = server.raw().await;
    for byte in client_hello(&server.client) {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        let mut answer = [0; 8];
        if let Ok(ended) = timeout(SHORT / 20, stream.read(&mut answer)).await {
            assert!(matches!(ended, Ok(0) | Err(_)), "an answer to half a hello");
            break;
        }
    }
    eventually(|| server.counters.late.value() == 1).await;
}

#[tokio::test]
async fn stall_within_the_handshake_is_cut() {
    let server = Server::hasty().await;
    let mut stream = server.raw().await;
    let hello = client_hello(&server.client);
    stream.write_all(&hello).await.unwrap();
    closed(&mut stream).await; // reads the server's flight, and answers nothing
    eventually(|| server.counters.late.value() == 1).await;
}

#[tokio::test]
async fn silence_after_the_handshake_is_cut() {
    let mut server = Server::hasty().await;
    for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
        let mut client = dial(server.port, &server.client).await.unwrap();
        client.write_all(said).await.unwrap();
        let mut connection = server.next().await;
        let mut heard = Vec::new();
        let error = soon(connection.read_to_end(&mut heard)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(heard, said);
    }
}

#[tokio::test]
async fn junk_ends_its_connection_alone() {
    let mut server = Server::start(Limits::default()).await;
    let mut client = dial(server.port, &server.client).await.unwrap();
    let mut open = server.next().await;
    let junk: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 4096],
        &[0x16, 0x03, 0x01, 0xff, 0xff, 0x01],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in junk {
        let mut stream = server.raw().await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        closed(&mut stream).await;
        server.serves().await;
    }
    eventually(|| server.counters.failed.value() == 4).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(soon(open.read_u8()).await.unwrap(), b'x');
}

#[tokio::test]
async fn resets_in_the_handshake_harm_nobody() {
    let mut server = Server::start(Limits::default()).await;
    for _ in 0..50 {
        let mut stream = server.raw().await;
        stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
        // The next close is a reset.
        stream.set_zero_linger().unwrap();
    }
    eventually(|| server.counters.reasons() == [("connection", 50)]).await;
    server.serves().await;
}

#[tokio::test]
async fn honest_clients_pass_a_flood() {
    let mut server = Server::start(Limits {
        max_pending_handshakes: 32,
        ..Limits::default()
    })
    .await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(server.raw().await);
    }
    for _ in 0..10 {
        server.serves().await;
    }
    assert!(server.counters.handshakes.displaced() >= 168);
    assert_eq!(server.counters.served.value(), 10);
    assert_eq!(server.counters.late.value(), 0, "no need to wait for them");
}

#[tokio::test]
async fn two_hundred_half_open_harm_nobody() {
    let mut server = Server::start(Limits::default()).await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(server.raw().await);
    }
    server.serves().await;
    assert_eq!(server.counters.handshakes.displaced(), 0);
}

/// The listener is closed even while every place in it is taken.
#[tokio::test]
async fn full_listener_ends_with_its_server() {
    let mut server = Server::start(Limits {
        max_strangers: 1,
        ..Limits::default()
    })
    .await;
    let _client = dial(server.port, &server.client).await.unwrap();
    let _held = server.next().await;
    server.connections = Box::pin(tokio_stream::empty());
    let address = ("127.0.0.1", server.port);
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
}

#[tokio::test]
async fn pending_handshakes_end_with_their_server() {
    let mut server = Server::start(Limits {
        handshake_deadline: Duration::from_secs(3_600),
        ..Limits::default()
    })
    .await;
    let hello = client_hello(&server.client);
    let mut stream = server.raw().await;
    stream.write_all(&hello).await.unwrap();
    let mut flight = [0; 1];
    soon(stream.read_exact(&mut flight)).await.unwrap(); // it is under way
    server.connections = Box::pin(tokio_stream::empty());
    closed(&mut stream).await;
}

#[tokio::test]
async fn listener_outlives_want_of_descriptors() {
    if !is_child() {
        return run_as_child("tls::tests::listener_outlives_want_of_descriptors");
    }
    let mut server = Server::start(Limits::default()).await;
    // Connected, and not accepted yet: the one thread of this runtime is ours.
    let waiting = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    waiting.set_nonblocking(true).unwrap();
    let mut waiting = TcpStream::from_std(waiting).unwrap();
    let hogs = exhaust_descriptors();
    let hello = client_hello(&server.client);
    waiting.write_all(&hello).await.unwrap();
    let mut flight = [0; 1];
    let starved = timeout(SHORT, waiting.read_exact(&mut flight)).await;
    assert!(starved.is_err(), "there was still a descriptor");
    drop(hogs);
    soon(waiting.read_exact(&mut flight)).await.unwrap();
    server.serves().await;
}

#[tokio::test]
async fn single_handshake_tells_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (config, client) = tls();
    let good = tokio::spawn(async move { dial(port, &client).await.map(drop) });
    let turnstile = Turnstile::new(1, &Counters::default());
    let turn = || {
        let attention = turnstile.attention().now_or_never();
        turnstile.enter(attention.unwrap(), Ipv4Addr::LOCALHOST.into())
    };
    let (stream, _) = accept_tcp(&listener).await;
    let finished = soon(handshake(stream, Arc::clone(&config), turn())).await;
    finished.unwrap();
    soon(good).await.unwrap().unwrap();

    let _silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (stream, _) = accept_tcp(&listener).await;
    let late = handshake_within(stream, Arc::clone(&config), turn(), SHORT).await;
    assert_eq!(late.unwrap_err().code(), "deadline");

    let mut junk = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    junk.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (stream, _) = accept_tcp(&listener).await;
    let failed = soon(handshake(stream, config, turn())).await.unwrap_err();
    assert!(matches!(failed, HandshakeError::Failed(_)), "{failed}");
}
