//! One TLS connection to the control plane, and a gRPC channel over exactly that connection.
//!
//! A key proof is bound to the session it travels in, so the channel must not reconnect by
//! itself: when the connection breaks, calls fail and the control task dials anew.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use countersign_proto::KEY_PROOF_EXPORTER;
use countersign_serve::limits::{HANDSHAKE_DEADLINE, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

/// A TCP connection is made in this time or given up.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// The application protocol of gRPC.
pub const ALPN: &[u8] = b"h2";
const DEFAULT_PORT: u16 = 443;

/// The control plane was not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No TCP connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The TLS handshake failed: most often, one side does not trust the other.
    #[error("TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// A step took too long.
    #[error("{0} timed out")]
    Deadline(&'static str),
    /// The address is none.
    #[error("not an address: {0}")]
    Address(String),
    /// HTTP/2 did not come up.
    #[error("HTTP/2 failed: {0}")]
    Http(#[from] tonic::transport::Error),
}

/// A live connection.
#[derive(Clone, Debug)]
pub struct Link {
    /// gRPC over it.
    pub channel: Channel,
    /// The TLS exporter that key proofs on it are bound to.
    pub exporter: [u8; 32],
}

/// Dials the control plane and hands the one connection to gRPC.
///
/// # Errors
/// Whatever step failed, each within its deadline.
pub async fn dial(address: &Uri, tls: Arc<ClientConfig>) -> Result<Link, DialError> {
    let stream = connect(address, tls).await?;
    let exporter = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], KEY_PROOF_EXPORTER, None)
        .map_err(|error| DialError::Handshake(io::Error::other(error)))?;
    let channel = timeout(HANDSHAKE_DEADLINE, over(stream))
        .await
        .map_err(|_| DialError::Deadline("HTTP/2"))??;
    Ok(Link { channel, exporter })
}

async fn connect(address: &Uri, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, DialError> {
    let host = address.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = address.port_u16().unwrap_or(DEFAULT_PORT);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| DialError::Address(address.to_string()))?;
    let tcp = timeout(CONNECT_DEADLINE, TcpStream::connect((host, port)))
        .await
        .map_err(|_| DialError::Deadline("connecting"))?
        .map_err(DialError::Connect)?;
    tcp.set_nodelay(true).map_err(DialError::Connect)?;
    timeout(
        HANDSHAKE_DEADLINE,
        TlsConnector::from(tls).connect(name, tcp),
    )
    .await
    .map_err(|_| DialError::Deadline("the TLS handshake"))?
    .map_err(DialError::Handshake)
}

async fn over(stream: TlsStream<TcpStream>) -> Result<Channel, tonic::transport::Error> {
    let mut once = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let io = once.take().ok_or(io::ErrorKind::NotConnected);
        std::future::ready(io.map_err(io::Error::from))
    });
    // The connector has connected already, with TLS: this URI only fills `:authority`.
    Endpoint::from_static("http://control-plane")
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}
