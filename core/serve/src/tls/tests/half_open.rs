//! Peers that never finish their handshake keep no slow one from finishing its own.

use std::io::Write as _;
use std::net::Ipv4Addr;

use super::*;
use crate::testing::{connect_from, is_child, run_as_child_in};

const PLACES: usize = 32;
const FLOOD: u32 = 200;
/// Half of the places.
const HALF: u32 = 16;

/// Makes all of 198.18.0.0/15 (RFC 2544) addresses of a network namespace of our own.
const MANY_SOURCES: &str = r#"python3 -c '
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, UP = 0x8914, 0x8916, 0x891c, 1
fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", UP))
def set(what, address):
    address = socket.inet_aton(address)
    fcntl.ioctl(s, what, struct.pack("16sH2x4s16x", b"lo:1", socket.AF_INET, address))
set(SIOCSIFADDR, "198.18.0.1")
set(SIOCSIFNETMASK, "255.254.0.0")
'"#;

/// One of a hundred thousand sources.
fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(Ipv4Addr::new(198, 18, 0, 2).to_bits() + number)
}

async fn few_places() -> Server {
    Server::start(Limits {
        max_pending_handshakes: PLACES,
        ..Limits::default()
    })
    .await
}

/// A client whose answer to the server's flight waits for as long as the test likes: its round trip.
struct SlowClient {
    stream: TcpStream,
    session: rustls::ClientConnection,
}

impl SlowClient {
    /// Says its ClientHello and reads what the server answers, to the end of its flight.
    async fn greet(server: &Server) -> Self {
        let name = "localhost".try_into().unwrap();
        let session = rustls::ClientConnection::new(Arc::clone(&server.client), name).unwrap();
        let stream = connect_from(source(u32::from(u16::MAX)), server.port);
        let stream = stream.await.unwrap();
        let mut slow = Self { stream, session };
        slow.send().await;
        while slow.session.is_handshaking() {
            let mut flight = [0; 4_096];
            let length = soon(slow.stream.read(&mut flight)).await.unwrap();
            assert_ne!(length, 0, "it was cut");
            slow.session.read_tls(&mut &flight[..length]).unwrap();
            slow.session.process_new_packets().unwrap();
        }
        slow
    }

    /// Sends what it has to say.
    async fn send(&mut self) {
        let mut bytes = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut bytes).unwrap();
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Answers at last, and is served.
    async fn gets_into(mut self, server: &mut Server) {
        self.session.writer().write_all(b"hello").unwrap();
        self.send().await;
        let mut connection = server.next().await;
        let mut word = [0; 5];
        soon(connection.read_exact(&mut word)).await.unwrap();
        assert_eq!(&word, b"hello");
    }
}

/// So many strangers, each from an address of its own, that say this and no more.
async fn strangers(server: &Server, count: u32, said: &[u8]) -> Vec<TcpStream> {
    let mut strangers = Vec::new();
    for number in 0..count {
        let mut stranger = connect_from(source(number), server.port).await.unwrap();
        let _ = stranger.write_all(said).await;
        strangers.push(stranger);
    }
    strangers
}

#[tokio::test]
async fn flood_without_hellos_puts_out_no_slow_peer() {
    if !is_child() {
        let test = "tls::tests::half_open::flood_without_hellos_puts_out_no_slow_peer";
        return run_as_child_in("--net", MANY_SOURCES, test);
    }
    let mut server = few_places().await;
    let hello = client_hello(&server.client);
    for said in [&b""[..], &hello[..1], &hello[..hello.len() - 1]] {
        let before = server.counters.handshakes.displaced();
        let slow = SlowClient::greet(&server).await;
        let _flood = strangers(&server, FLOOD, said).await;
        let least = before + u64::from(FLOOD) - PLACES as u64;
        eventually(|| server.counters.handshakes.displaced() >= least).await;
        slow.gets_into(&mut server).await;
    }
}

/// To accept costs less than to answer: who waits for us is not taken for silent.
#[tokio::test]
async fn every_hello_is_answered_before_its_peer_goes() {
    let server = Server::start(Limits {
        max_pending_handshakes: 16,
        ..Limits::default()
    })
    .await;
    let hello = client_hello(&server.client);
    // All of it is there before the runtime, which has one thread, gets to accept.
    let clients = (0..100).map(|_| {
        let mut client = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        client.write_all(&hello).unwrap();
        client.set_nonblocking(true).unwrap();
        TcpStream::from_std(client).unwrap()
    });
    for mut client in clients.collect::<Vec<_>>() {
        soon(client.read_u8()).await.unwrap();
    }
}

/// A peer that has said nothing yet finds a place, whatever others have said.
#[tokio::test]
async fn flood_of_hellos_keeps_no_newcomer_out() {
    if !is_child() {
        let test = "tls::tests::half_open::flood_of_hellos_keeps_no_newcomer_out";
        return run_as_child_in("--net", MANY_SOURCES, test);
    }
    let mut server = few_places().await;
    let hello = client_hello(&server.client);
    let _flood = strangers(&server, FLOOD, &hello).await;
    eventually(|| server.counters.handshakes.displaced() >= u64::from(FLOOD) - PLACES as u64).await;
    for _ in 0..3 {
        server.serves().await;
    }
    // A slow peer is not the oldest before as many have come as there are places.
    let slow = SlowClient::greet(&server).await;
    let _few = strangers(&server, HALF, &hello).await;
    slow.gets_into(&mut server).await;
}
