//! TLS connections for gRPC servers, and single accepts for the proxy.
//!
//! Handshakes run side by side, each through the listener's [`Turnstile`].

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use countersign_verify::VerifiedSvid;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use crate::accept::{Ready, accept_tcp};
use crate::counters::Counters;
use crate::gathering::Gathering;
use crate::greeting::Greeting;
use crate::limits::{HANDSHAKE_DEADLINE, Limits};
use crate::turnstile::Turnstile;

/// Who is at the other end of a TLS connection: the `ConnectInfo` of a [`TlsConnection`], found
/// in the extensions of every tonic request.
#[derive(Clone, Debug)]
pub struct TlsPeer {
    /// Its address.
    pub address: SocketAddr,
    /// Its identity, where it presented one; verified in the handshake.
    pub svid: Option<Arc<VerifiedSvid>>,
    /// The TLS exporter that binds key proofs to this session (RFC 8446 section 7.5).
    pub exporter: [u8; 32],
}

/// Why an incoming handshake came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not finished within the deadline.
    #[error("the handshake was not finished in time")]
    Deadline,
    /// So many came after it that it had to go.
    #[error("the handshake was cut to make room for others")]
    Evicted,
    /// TLS or the verifier refused it, or the connection broke.
    #[error("the handshake failed: {}", countersign_verify::tls::handshake_words(.0))]
    Failed(#[from] io::Error),
}

impl HandshakeError {
    /// A stable word for metric labels and logs: the verifier's rule where it refused.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Evicted => "evicted",
            Self::Failed(error) => error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .map_or("connection", countersign_verify::tls::handshake_code),
        }
    }
}

/// One handshake, within [`HANDSHAKE_DEADLINE`], on an accepted connection.
///
/// # Errors
/// The handshake failed or ran out of time; the connection is closed.
pub async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    handshake_within(stream, config, HANDSHAKE_DEADLINE).await
}

async fn handshake_within(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    deadline: Duration,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    // A socket that is closed already says so in the handshake.
    let _ = stream.set_nodelay(true);
    let accepting = TlsAcceptor::from(config).accept(stream);
    match timeout(deadline, Box::pin(accepting)).await {
        Ok(finished) => Ok(finished?),
        Err(_) => Err(HandshakeError::Deadline),
    }
}

/// The connections of a TLS listener, for [`tonic`]'s `serve_with_incoming`: handshakes run side
/// by side, each within its deadline, at most
/// [`MAX_PENDING_HANDSHAKES`](crate::limits::MAX_PENDING_HANDSHAKES) at once; a failed one ends
/// that connection alone. `exporter_label` fills [`TlsPeer::exporter`].
pub fn incoming(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    exporter_label: &'static [u8],
) -> impl Stream<Item = io::Result<TlsConnection>> + Send + 'static {
    incoming_within(
        listener,
        config,
        exporter_label,
        Limits::default(),
        Arc::default(),
    )
}

/// [`incoming`] with other limits, and counted.
pub fn incoming_within(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    exporter_label: &'static [u8],
    limits: Limits,
    counters: Arc<Counters>,
) -> impl Stream<Item = io::Result<TlsConnection>> + Send + 'static {
    let greeter = Greeter {
        config,
        exporter_label,
        turnstile: Arc::new(Turnstile::new(limits.max_pending_handshakes)),
        limits,
        counters,
    };
    Ready::spawn(move |ready| greeter.run(listener, ready))
}

/// What every handshake of a listener needs.
#[derive(Clone)]
struct Greeter {
    config: Arc<ServerConfig>,
    exporter_label: &'static [u8],
    limits: Limits,
    counters: Arc<Counters>,
    turnstile: Arc<Turnstile>,
}

impl Greeter {
    async fn run(self, listener: TcpListener, ready: mpsc::Sender<TlsConnection>) {
        let open = Arc::new(Semaphore::new(self.limits.max_connections));
        let mut greeting = JoinSet::new();
        loop {
            let (stream, address) = tokio::select! {
                accepted = accept_tcp(&listener) => accepted,
                Some(_) = greeting.join_next() => continue,
            };
            let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
                self.counters.refused.increment();
                continue;
            };
            let greeter = self.clone();
            greeting.spawn(greeter.introduce(stream, address, permit, ready.clone()));
        }
    }

    async fn introduce(
        self,
        stream: TcpStream,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
        ready: mpsc::Sender<TlsConnection>,
    ) {
        let deadline = self.limits.handshake_deadline;
        let accepting = handshake_within(stream, Arc::clone(&self.config), deadline);
        match self.turnstile.pass(accepting).await {
            Ok(stream) => {
                if let Ok(connection) = self.connection(stream, address, permit)
                    && ready.send(connection).await.is_ok()
                {
                    self.counters.served.increment();
                }
            }
            Err(error) => {
                self.counters.handshake_failed(&error);
                tracing::debug!(peer = %address, reason = error.code(), %error, "handshake refused");
            }
        }
    }

    fn connection(
        &self,
        stream: TlsStream<TcpStream>,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> Result<TlsConnection, rustls::Error> {
        let (_, session) = stream.get_ref();
        let exporter = session.export_keying_material([0; 32], self.exporter_label, None)?;
        let svid = session
            .peer_certificates()
            .and_then(countersign_verify::tls::peer_of)
            .map(Arc::new);
        Ok(TlsConnection {
            stream: Gathering::new(stream),
            peer: TlsPeer {
                address,
                svid,
                exporter,
            },
            greeting: Greeting::within(self.limits.first_byte_deadline),
            _permit: permit,
        })
    }
}

/// An accepted TLS connection with a first-byte deadline, whose answers are gathered.
#[derive(Debug)]
pub struct TlsConnection {
    stream: Gathering<TlsStream<TcpStream>>,
    peer: TlsPeer,
    greeting: Greeting,
    /// Its place among the connections of the listener.
    _permit: OwnedSemaphorePermit,
}

impl Connected for TlsConnection {
    type ConnectInfo = TlsPeer;
    fn connect_info(&self) -> TlsPeer {
        self.peer.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.greeting.poll_read(Pin::new(&mut this.stream), cx, buf)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
