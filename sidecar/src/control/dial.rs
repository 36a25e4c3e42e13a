//! One TLS connection to the control plane, and a gRPC channel over exactly that connection.
//!
//! A key proof is bound to the session it travels in, so the channel must not reconnect by
//! itself: when the connection breaks, calls fail and the control task dials anew. Which of several
//! addresses is taken, [`super::addresses`] decides.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_proto::KEY_PROOF_EXPORTER;
use countersign_serve::grpc::Keepalive;
use countersign_serve::limits::HANDSHAKE_DEADLINE;
use countersign_serve::wire::{Dial, Wire};
use countersign_verify::tls::handshake_words;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::broken::is_broken;
use super::observed::{Heard, Observed};

/// A TCP connection is made in this time or given up.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A name is resolved in this time or given up.
pub(crate) const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);
/// What the control plane may send of one stream before we have read it. It need not wait for us at
/// 10 MB a second over 100 ms: a push of every certificate and bundle is such a stream.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// The same of all streams together: the discovery stream, and an enrolment beside it. So much memory it
/// can make us hold, whatever it sends.
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
/// The application protocol of gRPC.
pub(crate) const ALPN: &[u8] = b"h2";

/// One address of the control plane was not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DialError {
    /// The name has no address.
    #[error("cannot resolve the name: {0}")]
    Resolve(io::Error),
    /// No TCP connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// It turned us away before it said who it is. Ours does that while it has no certificate of
    /// its own; it cannot be told from another server that does so.
    #[error(
        "the control plane presents no certificate: it has no CA that can sign yet. \
         `countersign ca status` there says what it waits for. Otherwise another server listens at \
         this address"
    )]
    NoIdentity,
    /// The TLS handshake failed: most often, one side does not trust the other.
    #[error("TLS handshake failed: {}", handshake_words(.0))]
    Handshake(io::Error),
    /// It does not accept the certificate that we showed.
    #[error("the control plane does not accept this node's certificate: {}", handshake_words(.0))]
    Refused(io::Error),
    /// A step took too long.
    #[error("{0} timed out")]
    Deadline(&'static str),
    /// Another address answered while this one was silent.
    #[error("no answer before another address answered")]
    Overtaken,
    /// The address is none.
    #[error("not an address: {0}")]
    Address(String),
    /// HTTP/2 did not come up.
    #[error("HTTP/2 failed: {0}")]
    Http(#[from] tonic::transport::Error),
}

impl DialError {
    /// Whether who listens there did not prove to be our control plane.
    pub(crate) fn is_unproven(&self) -> bool {
        let Self::Handshake(error) = self else {
            return false;
        };
        matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_)))
    }

    /// Whether our control plane does not recognise what we showed.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// A live connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// gRPC over it.
    pub(crate) channel: Channel,
    /// The TLS exporter that key proofs on it are bound to.
    pub(crate) exporter: [u8; 32],
    /// A ping is sent after this much silence.
    asks_every: Duration,
    /// When the other side was heard last, and whether it ended it.
    heard: Heard,
}

impl Link {
    /// It was made with as many pings as were due then, and keeps to them: after this much silence.
    pub(super) fn asks_every(&self) -> Duration {
        self.asks_every
    }

    /// When anything came over it last.
    pub(super) fn heard_at(&self) -> Instant {
        self.heard.at()
    }

    /// Whether a call failed because we closed the connection: a keepalive was not answered. What else
    /// ends one comes from the other side, or has a code of HTTP/2.
    pub(super) fn is_silent(&self, status: &Status) -> bool {
        let has_no_reason = matches!(status.code(), Code::Unknown | Code::Unavailable);
        is_broken(status) && has_no_reason && !self.heard.the_end()
    }
}

/// Connects to one address and hands the connection to gRPC. Whoever listens there is asked from time
/// to time whether it is still there.
///
/// # Errors
/// Whatever step failed, each within its deadline.
pub(super) async fn dial(
    (network, address): (Arc<dyn Dial>, SocketAddr),
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    keepalive: Keepalive,
) -> Result<Link, DialError> {
    let stream = connect(network, address, name, tls).await?;
    let exporter = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], KEY_PROOF_EXPORTER, None)
        .map_err(|error| DialError::Handshake(io::Error::other(error)))?;
    let heard = Heard::since(Instant::now());
    let stream = Observed::new(stream, heard.clone());
    let channel = timeout(HANDSHAKE_DEADLINE, over(stream, keepalive))
        .await
        .map_err(|_| DialError::Deadline("HTTP/2"))??;
    Ok(Link {
        channel,
        exporter,
        asks_every: keepalive.interval,
        heard,
    })
}

async fn connect(
    network: Arc<dyn Dial>,
    address: SocketAddr,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<Box<dyn Wire>>, DialError> {
    let wire = timeout(CONNECT_DEADLINE, network.dial(address))
        .await
        .map_err(|_| DialError::Deadline("connecting"))?
        .map_err(DialError::Connect)?;
    timeout(HANDSHAKE_DEADLINE, handshake(wire, name, tls))
        .await
        .map_err(|_| DialError::Deadline("the TLS handshake"))?
        .map_err(handshake_error)
}

/// In TLS 1.3 our side is done before the control plane has judged our certificate. In HTTP/2 it
/// speaks first, and that tells. Until then nothing is sent: what breaks a call has lost its reason.
async fn handshake(
    wire: Box<dyn Wire>,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> io::Result<TlsStream<Box<dyn Wire>>> {
    let mut stream = TlsConnector::from(tls).connect(name, wire).await?;
    let first = stream.fill_buf().await?;
    match first.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(stream),
    }
}

/// A server with no certificate to present says `access_denied` in the place of its first message.
fn handshake_error(error: io::Error) -> DialError {
    let Some(rustls::Error::AlertReceived(alert)) = tls_error(&error) else {
        return DialError::Handshake(error);
    };
    match alert {
        AlertDescription::AccessDenied => DialError::NoIdentity,
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => DialError::Refused(error),
        _ => DialError::Handshake(error),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

async fn over<S>(stream: S, keepalive: Keepalive) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut once = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let io = once.take().ok_or(io::ErrorKind::NotConnected);
        std::future::ready(io.map_err(io::Error::from))
    });
    // The connector has connected already, with TLS: this URI only fills `:authority`.
    Endpoint::from_static("http://control-plane")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(keepalive.interval)
        .keep_alive_timeout(keepalive.timeout)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// What a control plane may send unread, as our first frames say it.
    #[tokio::test]
    async fn windows_are_the_named_ones() {
        const PREFACE: usize = 24;
        const SETTINGS: u8 = 4;
        const WINDOW_UPDATE: u8 = 8;
        const INITIAL_WINDOW_SIZE: u16 = 4;
        const DEFAULT: u32 = 65_535;
        let (ours, mut theirs) = tokio::io::duplex(4_096);
        let keepalive = Keepalive {
            interval: CONNECT_DEADLINE,
            timeout: CONNECT_DEADLINE,
        };
        let _channel = over(ours, keepalive).await.unwrap();
        theirs.read_exact(&mut [0; PREFACE]).await.unwrap();
        let (mut stream, mut connection) = (None, None);
        while stream.is_none() || connection.is_none() {
            let mut head = [0; 9];
            theirs.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut body = vec![0; usize::try_from(length).unwrap()];
            theirs.read_exact(&mut body).await.unwrap();
            let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
            match head[3] {
                SETTINGS => {
                    let mut settings = body.chunks_exact(6);
                    let window = settings.find(|it| it[..2] == INITIAL_WINDOW_SIZE.to_be_bytes());
                    stream = window.map(|it| number(&it[2..]));
                }
                WINDOW_UPDATE => connection = Some(DEFAULT + number(&body)),
                _ => {}
            }
        }
        assert_eq!(stream, Some(STREAM_WINDOW));
        assert_eq!(connection, Some(CONNECTION_WINDOW));
    }

    #[test]
    fn another_failed_handshake_stays_one() {
        let alert = rustls::Error::AlertReceived(AlertDescription::HandshakeFailure);
        let error = handshake_error(io::Error::new(io::ErrorKind::InvalidData, alert));
        assert!(matches!(error, DialError::Handshake(_)), "{error}");
    }
}
