//! Many streams that are never finished, on many connections.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use h2::SendStream;
use h2::client::ResponseFuture;
use http::{HeaderMap, Method, Request, Version};
use tokio::time::timeout;

use super::connection::Hostile;

/// Connections that are set up at a time.
const AT_A_TIME: usize = 64;
/// No stream is free in this time: the peer lets no more of them in.
const NO_STREAM: Duration = Duration::from_millis(500);

/// What is sent on every stream.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The call, such as `/countersign.v1.Mesh/Enrol`.
    pub path: &'static str,
    /// Fields besides those of gRPC.
    pub fields: HeaderMap,
    /// What is sent of the body, which never ends.
    pub body: Bytes,
    /// Streams of each connection.
    pub streams: usize,
}

/// Streams that are held.
#[derive(Debug)]
pub struct Held {
    /// Their connections.
    pub connections: Vec<Hostile>,
    streams: Vec<(ResponseFuture, SendStream<Bytes>)>,
}

impl Unfinished {
    /// Nothing but heads.
    pub fn heads(path: &'static str, fields: HeaderMap, streams: usize) -> Self {
        Self {
            path,
            fields,
            body: Bytes::new(),
            streams,
        }
    }

    /// Opens so many connections with their streams.
    pub async fn hold(&self, connections: usize, dial: impl AsyncFn() -> Option<Hostile>) -> Held {
        let opened = stream::iter(0..connections)
            .map(|_| async {
                let mut connection = dial().await?;
                let streams = self.open(&mut connection).await;
                Some((connection, streams))
            })
            .buffer_unordered(AT_A_TIME)
            .filter_map(std::future::ready);
        let (connections, streams): (Vec<_>, Vec<_>) = opened.unzip().await;
        Held {
            connections,
            streams: streams.into_iter().flatten().collect(),
        }
    }

    async fn open(&self, connection: &mut Hostile) -> Vec<(ResponseFuture, SendStream<Bytes>)> {
        let mut held = Vec::new();
        while held.len() < self.streams
            && let Some(stream) = self.begin(connection).await
        {
            held.push(stream);
            // The connection's own task writes them out.
            tokio::task::yield_now().await;
        }
        held
    }

    /// One stream; `None` where there is none for it.
    pub async fn begin(
        &self,
        connection: &mut Hostile,
    ) -> Option<(ResponseFuture, SendStream<Bytes>)> {
        let ready = timeout(NO_STREAM, connection.calls.clone().ready());
        let mut calls = ready.await.ok()?.ok()?;
        let (response, mut body) = calls.send_request(self.request(), false).ok()?;
        if !self.body.is_empty() {
            body.send_data(self.body.clone(), false).ok()?;
        }
        Some((response, body))
    }

    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let uri = format!("http://stranger{}", self.path);
        *request.uri_mut() = uri.parse().expect("a path of ours");
        *request.headers_mut() = self.fields.clone();
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        for (name, value) in grpc {
            request
                .headers_mut()
                .insert(name, value.parse().expect("a constant"));
        }
        request
    }
}

impl Held {
    /// Streams that were opened.
    pub fn opened(&self) -> usize {
        self.streams.len()
    }

    /// Streams that were not answered: they are held by the other side, too.
    pub fn unanswered(&mut self) -> usize {
        let streams = std::mem::take(&mut self.streams);
        let open = streams.into_iter().filter_map(|(mut response, body)| {
            (&mut response)
                .now_or_never()
                .is_none()
                .then_some((response, body))
        });
        self.streams = open.collect();
        self.streams.len()
    }

    /// Connections that the other side has not closed.
    pub fn open_connections(&self) -> usize {
        let open = self.connections.iter().filter(|it| !it.is_closed());
        open.count()
    }
}
