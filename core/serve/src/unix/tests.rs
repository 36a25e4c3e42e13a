use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{getegid, geteuid, getpid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt as _;

use super::*;
use crate::limits::{ConnectRate, MAX_READY_CONNECTIONS};
use crate::testing::{closed, eventually, soon};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

type Connections = Pin<Box<dyn Stream<Item = io::Result<UnixConnection>> + Send>>;

struct Server {
    path: std::path::PathBuf,
    counters: Arc<Counters>,
    connections: Connections,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(limits: Limits, admit: impl Fn(&UnixPeer) -> bool + Send + 'static) -> Self {
        Self::start_with(|socket, counters| Box::pin(incoming(socket, admit, limits, counters)))
    }

    fn start_with(listen: impl FnOnce(UnixSocket, Arc<Counters>) -> Connections) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let modes = SocketModes {
            socket: 0o600,
            directory: 0o700,
        };
        let socket = bind_unix(&path, modes, "test").unwrap();
        let counters = Arc::<Counters>::default();
        Self {
            path,
            connections: listen(socket, Arc::clone(&counters)),
            counters,
            _folder: folder,
        }
    }

    async fn dial(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    async fn next(&mut self) -> UnixConnection {
        soon(self.connections.next()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn peer_is_named_by_the_kernel() {
    let mut server = Server::start(Limits::default(), |_| true);
    let _client = server.dial().await;
    let peer = server.next().await.peer();
    assert_eq!(peer.uid, geteuid().as_raw());
    assert_eq!(peer.gid, getegid().as_raw());
    let pid = u32::try_from(getpid().as_raw_nonzero().get()).unwrap();
    assert_eq!(peer.pid, Some(pid));
}

#[tokio::test]
async fn refused_peer_is_closed_unheard() {
    let own = geteuid().as_raw();
    let server = Server::start(Limits::default(), move |peer| peer.uid != own);
    let mut client = server.dial().await;
    let _ = client.write_all(PREFACE).await;
    closed(&mut client).await;
    assert_eq!(server.counters.refused.value(), 1);
    assert_eq!(server.counters.served.value(), 0);
}

#[tokio::test]
async fn one_user_cannot_take_all_places() {
    let limits = Limits {
        max_connections_per_uid: 2,
        ..Limits::default()
    };
    let mut server = Server::start(limits, |_| true);
    let _first = (server.dial().await, server.next().await);
    let second = (server.dial().await, server.next().await);
    closed(&mut server.dial().await).await;
    assert_eq!(server.counters.refused.value(), 1);
    drop(second);
    let _third = (server.dial().await, server.next().await);
}

#[tokio::test]
async fn connections_end_at_their_cap() {
    let limits = Limits {
        max_connections: 1,
        ..Limits::default()
    };
    let mut server = Server::start(limits, |_| true);
    let held = (server.dial().await, server.next().await);
    closed(&mut server.dial().await).await;
    drop(held);
    let _next = (server.dial().await, server.next().await);
}

#[tokio::test]
async fn vanished_callers_leave_no_trace() {
    let limits = Limits {
        max_connections_per_uid: 4,
        ..Limits::default()
    };
    let mut server = Server::start(limits, |_| true);
    for _ in 0..300 {
        let client = server.dial().await;
        let mut connection = server.next().await;
        drop(client);
        assert_eq!(soon(connection.read(&mut [0; 8])).await.unwrap(), 0);
    }
    assert_eq!(server.counters.served.value(), 300);
    assert_eq!(server.counters.refused.value(), 0);
}

/// One runtime thread: nothing is accepted before all of them have hung up.
#[tokio::test]
async fn caller_that_hung_up_takes_no_place() {
    let mut server = Server::start(Limits::default(), |_| true);
    for n in 0..300 {
        let mut client = StdStream::connect(&server.path).unwrap();
        if n % 2 == 0 {
            client.write_all(PREFACE).unwrap();
        }
    }
    let _client = server.dial().await;
    let _served = server.next().await;
    let counters = &server.counters;
    eventually(|| counters.served.value() == 1).await;
    assert_eq!(
        (counters.gone.value(), counters.connections.open()),
        (300, 1)
    );
}

/// What is sent and not read does not tell an open connection from one that ended.
#[tokio::test]
async fn caller_that_has_said_all_it_has_to_say_is_served() {
    let mut server = Server::start(Limits::default(), |_| true);
    let mut client = StdStream::connect(&server.path).unwrap();
    client.write_all(PREFACE).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = Vec::new();
    let mut connection = server.next().await;
    soon(connection.read_to_end(&mut said)).await.unwrap();
    assert_eq!(said, PREFACE);
}

#[tokio::test]
async fn silent_and_dripping_callers_are_cut() {
    let limits = Limits {
        first_byte_deadline: Duration::from_millis(100),
        ..Limits::default()
    };
    let mut server = Server::start(limits, |_| true);
    for said in [&PREFACE[..0], &PREFACE[..1], &PREFACE[..23]] {
        let mut client = server.dial().await;
        client.write_all(said).await.unwrap();
        let mut heard = Vec::new();
        let mut connection = server.next().await;
        let error = soon(connection.read_to_end(&mut heard)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(heard, said);
    }
}

#[tokio::test]
async fn greeted_connection_may_stay_silent() {
    let limits = Limits {
        first_byte_deadline: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut server = Server::start(limits, |_| true);
    let mut client = server.dial().await;
    client.write_all(PREFACE).await.unwrap();
    let mut connection = server.next().await;
    let mut preface = [0; PREFACE.len()];
    soon(connection.read_exact(&mut preface)).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(150), connection.read(&mut preface));
    assert!(waited.await.is_err(), "it was cut");
    client.write_all(b"x").await.unwrap();
    assert_eq!(soon(connection.read(&mut preface)).await.unwrap(), 1);
    eventually(|| server.counters.served.value() == 1).await;
}

/// The listener is closed even while every place in it is taken.
#[tokio::test]
async fn full_listener_ends_with_its_server() {
    let limits = Limits {
        max_connections: 1,
        ..Limits::default()
    };
    let mut server = Server::start(limits, |_| true);
    let _held = (server.dial().await, server.next().await);
    server.connections = Box::pin(tokio_stream::empty());
    soon(async { while UnixStream::connect(&server.path).await.is_ok() {} }).await;
}

/// Nor does a server that takes no connection any more keep it open.
#[tokio::test]
async fn blocked_listener_ends_with_its_server() {
    let mut server = Server::start(Limits::default(), |_| true);
    let ready = u64::try_from(MAX_READY_CONNECTIONS).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..=MAX_READY_CONNECTIONS {
        waiting.push(server.dial().await);
    }
    eventually(|| server.counters.served.value() == ready).await;
    server.connections = Box::pin(tokio_stream::empty());
    soon(async { while UnixStream::connect(&server.path).await.is_ok() {} }).await;
}

const KNOWN: Holder = Holder::Uid(1);

/// A listener at which this test says who is recognised.
struct Judging {
    server: Server,
    is_recognised: Arc<std::sync::atomic::AtomicBool>,
}

impl Judging {
    fn start(limits: Limits) -> Self {
        let is_recognised = Arc::<std::sync::atomic::AtomicBool>::default();
        let judge = Arc::clone(&is_recognised);
        let server = Server::start_with(|socket, counters| {
            let places = UserPlaces::new(&limits, &counters);
            let holder = move |_: &UnixPeer| match judge.load(Ordering::Relaxed) {
                true => KNOWN,
                false => Holder::Stranger(1),
            };
            Box::pin(incoming_by_holder(
                socket,
                holder,
                (places, limits, counters),
            ))
        });
        Self {
            server,
            is_recognised,
        }
    }

    /// A connection as somebody of this standing, greeted.
    async fn dial(&mut self, standing: Standing) -> (UnixStream, UnixConnection) {
        let is_recognised = standing == Standing::Recognised;
        self.is_recognised.store(is_recognised, Ordering::Relaxed);
        let mut client = self.server.dial().await;
        client.write_all(PREFACE).await.unwrap();
        let mut connection = self.server.next().await;
        let mut preface = [0; PREFACE.len()];
        soon(connection.read_exact(&mut preface)).await.unwrap();
        (client, connection)
    }

    fn open(&self) -> (usize, usize) {
        let counters = &self.server.counters;
        (counters.connections.open(), counters.strangers.open())
    }
}

fn few() -> Limits {
    Limits {
        max_connections: 4,
        max_strangers: 2,
        ..Limits::default()
    }
}

async fn is_cut(connection: &mut UnixConnection) {
    let error = soon(connection.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn strangers_share_few_places_and_displace_each_other() {
    let mut listener = Judging::start(few());
    let (_client, mut oldest) = listener.dial(Standing::Stranger).await;
    // It sleeps in a read, as idle connections do.
    let sleeping = tokio::spawn(async move {
        is_cut(&mut oldest).await;
    });
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(listener.dial(Standing::Stranger).await);
    }
    soon(sleeping).await.unwrap();
    assert_eq!(listener.open(), (0, 2));
    let _recognised = listener.dial(Standing::Recognised).await;
    assert_eq!(listener.open(), (1, 2));
    assert_eq!(listener.server.counters.refused.value(), 0);
}

#[tokio::test]
async fn stranger_that_connects_without_end_is_closed_at_once() {
    let mut listener = Judging::start(few());
    let ConnectRate { burst, a_second } = CONNECTS_OF_A_STRANGER;
    let begun = Instant::now();
    let mut admitted = 0;
    let counters = Arc::clone(&listener.server.counters);
    while counters.refused.value() == 0 {
        let mut client = listener.server.dial().await;
        tokio::select! {
            _ = listener.server.connections.next() => admitted += 1,
            () = closed(&mut client) => {}
        }
        let since = u32::try_from(begun.elapsed().as_secs()).unwrap() + 1;
        assert!(admitted <= burst + since * a_second, "{admitted}");
    }
    assert!(admitted >= burst, "{admitted}");
    // Not so who may have something.
    for _ in 0..10 {
        let _recognised = listener.dial(Standing::Recognised).await;
    }
}

#[tokio::test]
async fn stranger_that_is_recognised_later_is_displaced_no_more() {
    let mut listener = Judging::start(few());
    let (mut client, mut known) = listener.dial(Standing::Stranger).await;
    let place = Arc::clone(known.place());
    let reading = tokio::spawn(async move {
        let mut byte = [0; 1];
        known.read_exact(&mut byte).await.map(|_| byte)
    });
    place.change(&KNOWN);
    assert_eq!(listener.open(), (1, 0));
    let mut strangers = Vec::new();
    for _ in 0..8 {
        strangers.push(listener.dial(Standing::Stranger).await);
    }
    client.write_all(b"x").await.unwrap();
    assert_eq!(soon(reading).await.unwrap().unwrap(), *b"x");
}

#[tokio::test]
async fn user_who_is_recognised_no_more_joins_the_strangers() {
    let mut listener = Judging::start(few());
    let (_client, mut former) = listener.dial(Standing::Recognised).await;
    former.place().change(&Holder::Stranger(1));
    assert_eq!(listener.open(), (0, 1));
    let place = Arc::clone(former.place());
    let sleeping = tokio::spawn(async move { is_cut(&mut former).await });
    let _held = [
        listener.dial(Standing::Stranger).await,
        listener.dial(Standing::Stranger).await,
    ];
    soon(sleeping).await.unwrap();
    // What is lost is lost.
    place.change(&KNOWN);
    assert_eq!(place.standing(), Standing::Stranger);
}

#[tokio::test]
async fn whose_share_is_taken_stays_a_stranger() {
    let mut listener = Judging::start(Limits {
        max_connections_per_uid: 1,
        ..few()
    });
    let _first = listener.dial(Standing::Recognised).await;
    let (_client, second) = listener.dial(Standing::Stranger).await;
    second.place().change(&KNOWN);
    assert_eq!(second.place().standing(), Standing::Stranger);
    assert_eq!(listener.open(), (1, 1));
}

#[tokio::test]
async fn peer_that_indexes_paths_without_end_is_cut() {
    let mut server = Server::start(Limits::default(), |_| true);
    let mut client = server.dial().await;
    let mut served = server.next().await;
    client.write_all(PREFACE).await.unwrap();
    let path = [0, 0, 4, 1, 4, 0, 0, 0, 1, 0x44, 2, b'/', b'a'];
    client.write_all(&path.repeat(100)).await.unwrap();
    let cut = soon(served.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::ConnectionAborted);
}
