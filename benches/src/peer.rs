//! Both ends beside a proxy: a client with an SVID of the mesh, and a workload that echoes.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, ensure};
use countersign_tests::workload::Identity;
use countersign_verify::tls::{ClientAuth, PeerRule, client_config, server_config};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const QUESTION: u8 = 7;

/// A client with an identity that it has from a sidecar.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
    server: TlsAcceptor,
    _followed: Identity,
}

impl Client {
    /// Takes an identity of this process at a socket; it talks to peers of the same identity.
    ///
    /// # Errors
    /// The identity does not come.
    pub async fn new(socket: &Path, id: &str) -> Result<Self> {
        let id = id.parse()?;
        let identity = Identity::follow(socket, &id).await?;
        let rule = PeerRule::OneOf([id].into());
        let (key, trust) = (identity.key(), identity.trust());
        let client = client_config(Some(key.clone()), trust.clone(), rule.clone(), &[]);
        let server = server_config(key, trust, rule, ClientAuth::Required, &[]);
        Ok(Self {
            tls: client.into(),
            server: server.into(),
            _followed: identity,
        })
    }

    /// An mTLS connection on which one byte went to the workload and back.
    ///
    /// # Errors
    /// It was refused.
    pub async fn connect(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::from(address.ip());
        let mut tls = self.tls.connect(name, tcp).await?;
        ask(&mut tls).await?;
        Ok(tls)
    }
}

/// Sends one byte and expects it back.
///
/// # Errors
/// It does not come.
pub async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    stream.write_all(&[QUESTION]).await?;
    stream.flush().await?;
    ensure!(
        stream.read_u8().await? == QUESTION,
        "another byte came back"
    );
    Ok(())
}

/// A workload that sends back what it gets.
#[derive(Debug)]
pub struct Echo {
    /// Where it listens.
    pub address: SocketAddr,
    task: AbortHandle,
}

impl Echo {
    /// Starts one on loopback.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Self::serve(listener, |stream| async { echo(stream).await })
    }

    /// One behind mTLS, with the identity of a client.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn secure(listener: TcpListener, as_peer: &Client) -> Result<Self> {
        let acceptor = as_peer.server.clone();
        Self::serve(listener, move |stream| {
            let accepting = acceptor.accept(stream);
            async move {
                if let Ok(tls) = accepting.await {
                    echo(tls).await;
                }
            }
        })
    }

    fn serve<F>(
        listener: TcpListener,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Ok(Self {
            address,
            task: task.abort_handle(),
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut byte = [0];
    // A peer that leaves ends it.
    while stream.read_exact(&mut byte).await.is_ok()
        && stream.write_all(&byte).await.is_ok()
        && stream.flush().await.is_ok()
    {}
}
