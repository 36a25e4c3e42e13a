//! A hostile HTTP/2 connection: it answers pings and honours flow control, and nothing else.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use countersign_verify::tls::provider;
use h2::client::{Builder, SendRequest};
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::issuance::link;

/// Strangers come from here, and honest callers from 127.0.0.1.
pub const STRANGERS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
/// A handshake that is slower is given up: others may have its place.
const DIAL_DEADLINE: Duration = Duration::from_secs(20);
/// Bytes of answers that are taken in without being read.
const UNREAD: u32 = 1 << 20;

/// How a caller dials the control plane.
#[derive(Clone, Debug)]
pub struct Dialler {
    /// Where to.
    pub address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Dialler {
    /// With this identity, or none.
    ///
    /// # Errors
    /// The key is none.
    pub fn new(
        address: SocketAddr,
        identity: Option<(&[CertificateDer<'static>], &KeyPair)>,
    ) -> Result<Self> {
        let _ = provider();
        let tls = Arc::new(link::config(identity)?);
        Ok(Self { address, tls })
    }

    /// A TLS session.
    ///
    /// # Errors
    /// The handshake failed or took too long.
    pub async fn tls(&self) -> Result<TlsStream<TcpStream>> {
        timeout(DIAL_DEADLINE, self.handshake())
            .await
            .context("the handshake took too long")?
    }

    async fn handshake(&self) -> Result<TlsStream<TcpStream>> {
        let tcp = connect_from_strangers(self.address).await?;
        let name = ServerName::try_from("control-plane")?;
        let connector = TlsConnector::from(self.tls.clone());
        Ok(connector.connect(name, tcp).await?)
    }

    /// An HTTP/2 connection.
    ///
    /// # Errors
    /// The handshake failed or took too long.
    pub async fn http2(&self) -> Result<Hostile> {
        Hostile::over(self.tls().await?, UNREAD).await
    }
}

/// A TCP connection from the address of strangers.
///
/// # Errors
/// It is refused.
pub async fn connect_from_strangers(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((STRANGERS, 0).into())?;
    let tcp = socket.connect(address).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// An HTTP/2 connection. Dropping it closes it.
#[derive(Debug)]
pub struct Hostile {
    /// Opens streams.
    pub calls: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Hostile {
    /// To a Unix socket; of each answer `unread` bytes are taken in.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn unix(socket: &Path, unread: u32) -> Result<Self> {
        Self::over(UnixStream::connect(socket).await?, unread).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        unread: u32,
    ) -> Result<Self> {
        let mut builder = Builder::new();
        builder.initial_window_size(unread).enable_push(false);
        let (calls, connection) = builder.handshake(stream).await?;
        // How it ends is nothing to a stranger.
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok(Self { calls, driver })
    }

    /// Waits until the other side has closed it.
    pub async fn closed(&mut self) {
        // A driver that was cut off has ended as well.
        let _ = (&mut self.driver).await;
    }

    /// Whether the other side has closed it.
    pub fn is_closed(&self) -> bool {
        self.driver.is_finished()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
