use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::*;
use crate::limits::Limits;
use crate::messages::Shares;
use crate::testing::{closed, dial, soon, tls};
use crate::tls::{TlsService, incoming};

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
            return Box::pin(std::future::pending());
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
    let serving = server(messages())
        .add_service(Hold)
        .serve_with_incoming(connections);
    Served {
        port,
        client,
        _task: AbortOnDropHandle::new(tokio::spawn(async move { serving.await.unwrap() })),
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

/// tonic has a timer of its own outside of ours, whose answer would be CANCELLED.
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

#[tokio::test]
async fn settings_name_the_bounds() {
    const MAX_CONCURRENT_STREAMS_ID: u16 = 3; // RFC 9113 section 6.5.2
    const MAX_HEADER_LIST_SIZE_ID: u16 = 6;
    let served = serve(Limits::default()).await;
    let mut stream = dial(served.port, &served.client).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let mut head = [0; 9];
    soon(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[3], 4, "the first frame is SETTINGS");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    soon(stream.read_exact(&mut settings)).await.unwrap();
    let value_of = |id: u16| {
        let mut entries = settings.chunks_exact(6);
        let entry = entries.find(|e| e[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
    };
    assert_eq!(
        value_of(MAX_CONCURRENT_STREAMS_ID),
        Some(MAX_CONCURRENT_STREAMS)
    );
    const { assert!(MAX_CONCURRENT_STREAMS <= 1_000, "no connection needs more") };
    assert_eq!(value_of(MAX_HEADER_LIST_SIZE_ID), Some(MAX_HEADER_BYTES));
}
