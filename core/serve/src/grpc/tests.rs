mod refused;
mod runs;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::turns::TURN_BYTES;
use super::*;
use crate::limits::{
    CAPACITY_OF_ENVOYS, CAPACITY_OF_IDENTITIES, CAPACITY_OF_STRANGERS, Limits, MAX_HEADER_BYTES,
};
use crate::messages::{ByteBudget, Payer, Shares};
use crate::testing::{Pki, closed, dial, eventually, soon, tls};
use crate::tls::{TlsService, incoming};
use crate::unix::UnixPeer;

/// `Watch` says one message and then holds the stream; `Never` answers nothing.
#[derive(Clone)]
struct Hold;

impl NamedService for Hold {
    const NAME: &'static str = "test.Hold";
}

impl Service<Request<Body>> for Hold {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() == "/test.Hold/Never" {
            return Box::pin(async move {
                let _unread = request;
                std::future::pending().await
            });
        }
        let message = Frame::data(Bytes::from_static(&[0, 0, 0, 0, 0]));
        let first = stream::iter([Ok::<_, Status>(message)]);
        let body = StreamBody::new(first.chain(stream::pending()));
        Box::pin(std::future::ready(Ok(Response::new(Body::new(body)))))
    }
}

fn messages() -> MessageBounds {
    let bytes = 1 << 20;
    MessageBounds::new(Shares {
        total: bytes,
        each: bytes,
    })
}

struct Served {
    port: u16,
    client: Arc<ClientConfig>,
    _task: AbortOnDropHandle<()>,
}

async fn serve(limits: Limits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (config, client) = tls();
    let service = TlsService {
        limits,
        ..TlsService::new(config, b"EXPORTER-t")
    };
    let connections = incoming(listener, service);
    let serving = Server::new(messages()).add_service(Hold).serve(connections);
    Served {
        port,
        client,
        _task: AbortOnDropHandle::new(tokio::spawn(serving)),
    }
}

impl Served {
    async fn connect(&self) -> SendRequest<Empty<Bytes>> {
        let stream = dial(self.port, &self.client).await.unwrap();
        let connecting = handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = soon(connecting).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// A good client is served.
    async fn serves(&self) {
        let response = call(&mut self.connect().await, &[]).await.unwrap();
        let mut body = response.into_body();
        let frame = soon(body.frame()).await.unwrap().unwrap();
        assert!(frame.is_data());
    }
}

async fn call(
    sender: &mut SendRequest<Empty<Bytes>>,
    headers: &[(&str, &str)],
) -> hyper::Result<Response<Incoming>> {
    call_method(sender, "Watch", headers).await
}

async fn call_method(
    sender: &mut SendRequest<Empty<Bytes>>,
    method: &str,
    headers: &[(&str, &str)],
) -> hyper::Result<Response<Incoming>> {
    let mut request = Request::post(format!("https://localhost/test.Hold/{method}"))
        .header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::new()).unwrap();
    soon(sender.send_request(request)).await
}

#[tokio::test]
async fn stream_ends_at_its_deadline_on_the_wire() {
    let served = serve(Limits::default()).await;
    let mut sender = served.connect().await;
    let response = call(&mut sender, &[("grpc-timeout", "100m")])
        .await
        .unwrap();
    let end = soon(response.into_body().collect()).await.unwrap();
    assert_eq!(end.trailers().unwrap()["grpc-status"], "4");
    for (timeout, status) in [("0n", "4"), ("soon", "3")] {
        let response = call(&mut sender, &[("grpc-timeout", timeout)]).await;
        assert_eq!(response.unwrap().headers()["grpc-status"], status);
    }
}

#[tokio::test]
async fn late_answer_is_deadline_exceeded() {
    let served = serve(Limits::default()).await;
    let mut sender = served.connect().await;
    for timeout in ["1n", "1m", "20m", "50000u"] {
        let response = call_method(&mut sender, "Never", &[("grpc-timeout", timeout)]).await;
        assert_eq!(response.unwrap().headers()["grpc-status"], "4", "{timeout}");
    }
}

#[tokio::test]
async fn header_bomb_is_refused() {
    let served = serve(Limits::default()).await;
    let mut sender = served.connect().await;
    let bomb = "a".repeat(2 * MAX_HEADER_BYTES as usize);
    match call(&mut sender, &[("x-bomb", &bomb)]).await {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    served.serves().await;
}

#[tokio::test]
async fn stalled_and_junk_connections_end_alone() {
    let served = serve(Limits {
        first_byte_deadline: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    for words in [
        &b""[..],
        b"PRI * HT",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        let mut stream = dial(served.port, &served.client).await.unwrap();
        stream.write_all(words).await.unwrap();
        closed(&mut stream).await;
        served.serves().await;
    }
}

const MAX_CONCURRENT_STREAMS_ID: u16 = 3; // RFC 9113 section 6.5.2
const MAX_HEADER_LIST_SIZE_ID: u16 = 6;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// What a listener offers a client in its first frame.
async fn offered(port: u16, client: &Arc<ClientConfig>, id: u16) -> Option<u32> {
    let mut stream = dial(port, client).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(EMPTY_SETTINGS).await.unwrap();
    let mut head = [0; 9];
    soon(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[3], 4, "the first frame is SETTINGS");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    soon(stream.read_exact(&mut settings)).await.unwrap();
    let mut entries = settings.chunks_exact(6);
    let entry = entries.find(|e| e[..2] == id.to_be_bytes())?;
    Some(u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
}

#[tokio::test]
async fn settings_name_the_bounds() {
    let served = serve(Limits::default()).await;
    let longest = offered(served.port, &served.client, MAX_HEADER_LIST_SIZE_ID).await;
    assert_eq!(longest, Some(MAX_HEADER_BYTES));
}

#[tokio::test]
async fn stranger_is_offered_few_streams() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pki = Pki::shared();
    let service = TlsService::new(pki.open_server(), b"EXPORTER-t");
    let server = Server::new(messages()).add_service(Hold);
    let _serving = AbortOnDropHandle::new(tokio::spawn(server.serve(incoming(listener, service))));
    for (client, capacity) in [
        (pki.client(), CAPACITY_OF_IDENTITIES),
        (Pki::stranger(), CAPACITY_OF_STRANGERS),
    ] {
        let streams = offered(port, &client, MAX_CONCURRENT_STREAMS_ID).await;
        assert_eq!(streams, Some(capacity.streams));
    }
}

/// Answers nothing, and looks how much of its connection was read when it is called.
#[derive(Clone)]
struct Watcher {
    read: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    /// The most that was read beyond the heads of the calls until then.
    ahead: Arc<AtomicUsize>,
}

impl NamedService for Watcher {
    const NAME: &'static str = "test.Watcher";
}

impl Service<Request<Body>> for Watcher {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Pending<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let ahead = self.read.load(Ordering::Relaxed) - calls * head(1).len();
        self.ahead.fetch_max(ahead, Ordering::Relaxed);
        std::future::pending()
    }
}

/// A connection of which is counted what is read.
struct Read {
    connection: DuplexStream,
    bytes: Arc<AtomicUsize>,
    /// How often there was nothing to read: once for each time that its task runs.
    idle: Arc<AtomicUsize>,
    capacity: Capacity,
}

impl Read {
    fn new(connection: DuplexStream, capacity: Capacity) -> Self {
        Self {
            connection,
            bytes: Arc::default(),
            idle: Arc::default(),
            capacity,
        }
    }
}

impl AsyncRead for Read {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.connection).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.idle
            .fetch_add(read.is_pending().into(), Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Read {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

impl Connection for Read {
    type Peer = UnixPeer;
    fn peer(&self) -> UnixPeer {
        UnixPeer {
            uid: 7,
            gid: 7,
            pid: None,
        }
    }
    fn capacity(&self) -> Capacity {
        self.capacity
    }
}

/// A HEADERS frame of a call that goes on (RFC 9113 section 6.2, RFC 7541 section 6).
fn head_of(path: &[u8], stream: u32) -> Vec<u8> {
    // POST and http of the static table, then a path and an authority that are not indexed.
    let mut fields = vec![0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    fields.extend(path);
    fields.extend(b"\x01\x01a");
    let mut frame = vec![0, 0, u8::try_from(fields.len()).unwrap(), 0x1, 0x4];
    frame.extend(stream.to_be_bytes());
    frame.extend(fields);
    frame
}

fn head(stream: u32) -> Vec<u8> {
    head_of(b"/test.Watcher/Watch", stream)
}

/// What HTTP/2 has decoded and nobody has been asked about is in no budget.
#[tokio::test]
async fn heads_are_handed_on_before_more_is_read() {
    const CALLS: u32 = 1_900;
    let sent = (0..CALLS).flat_map(|call| head(2 * call + 1));
    let sent: Vec<u8> = [PREFACE, EMPTY_SETTINGS]
        .concat()
        .into_iter()
        .chain(sent)
        .collect();
    let (connection, mut caller) = duplex(sent.len());
    caller.write_all(&sent).await.unwrap();
    let read = Arc::<AtomicUsize>::default();
    let watcher = Watcher {
        read: Arc::clone(&read),
        calls: Arc::default(),
        ahead: Arc::default(),
    };
    let read = Read {
        bytes: read,
        ..Read::new(connection, CAPACITY_OF_ENVOYS)
    };
    let accepted = stream::iter([Ok::<_, io::Error>(read)]);
    let server = Server::new(messages()).add_service(watcher.clone());
    let _serving = AbortOnDropHandle::new(tokio::spawn(server.serve(accepted)));
    eventually(|| watcher.calls.load(Ordering::Relaxed) == CALLS as usize).await;
    let ahead = watcher.ahead.load(Ordering::Relaxed);
    assert!(
        ahead <= 2 * TURN_BYTES + PREFACE.len() + EMPTY_SETTINGS.len(),
        "{ahead} bytes of {}",
        sent.len()
    );
}

/// A piece of a body in the buffers of HTTP/2 would hold all that came beside it.
#[tokio::test]
async fn what_nobody_reads_is_taken_in_and_paid_for() {
    const PIECE: usize = 200;
    let shares = Shares {
        total: 100_000,
        each: 100_000,
    };
    let budget = ByteBudget::new(shares);
    let account = budget.account(Payer::Uid(7));
    let (connection, caller) = duplex(1 << 20);
    let accepted = Read::new(connection, CAPACITY_OF_ENVOYS);
    let server = Server::new(MessageBounds::paid_by(move |_| account.clone())).add_service(Hold);
    let accepted = stream::iter([Ok::<_, io::Error>(accepted)]);
    let _serving = AbortOnDropHandle::new(tokio::spawn(server.serve(accepted)));
    let (calls, connection) = soon(h2::client::handshake(caller)).await.unwrap();
    let _client = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut calls = soon(calls.ready()).await.unwrap();
    let request = Request::post("http://a/test.Hold/Never").body(()).unwrap();
    let (_answer, mut body) = calls.send_request(request, false).unwrap();
    for _ in 0..40_000 / PIECE {
        body.send_data(Bytes::from(vec![b'a'; PIECE]), false)
            .unwrap();
    }
    // Far beyond the window of a stream, and none of it was read.
    eventually(|| budget.held() >= 40_000).await;
    for _ in 0..60_000 / PIECE {
        // The stream may be over already.
        let _ = body.send_data(Bytes::from(vec![b'a'; PIECE]), false);
    }
    eventually(|| budget.held() == 0).await;
}
