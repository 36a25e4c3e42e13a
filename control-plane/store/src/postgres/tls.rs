//! TLS to the database: 1.3, with the one crypto provider, and no CA but those of the file that the
//! URL names. The client library of SQLite's side would have added the CAs of the machine.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_serve::bounded_file;
use countersign_verify::tls::{TLS_VERSIONS, provider};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;
use zeroize::Zeroizing;

use super::address::TlsFiles;
use crate::DatabaseError;

/// Largest file of certificates or a key, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// How connections are encrypted.
#[derive(Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the files.
    pub(super) async fn read(files: TlsFiles) -> Result<Self, DatabaseError> {
        let read = tokio::task::spawn_blocking(move || config(&files));
        let config = read.await.map_err(|error| DatabaseError::of(&error))??;
        Ok(Self(Arc::new(config)))
    }
}

fn config(files: &TlsFiles) -> Result<ClientConfig, DatabaseError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.roots)? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable(&files.roots, &error))?;
    }
    let builder = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(TLS_VERSIONS)
        .expect("the provider has cipher suites of TLS 1.3")
        .with_root_certificates(roots);
    let Some((certificate, key)) = &files.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let read = PrivateKeyDer::from_pem_slice(&content(key)?);
    let private = read.map_err(|error| unusable(key, &error))?;
    let configured = builder.with_client_auth_cert(chain, private);
    configured.map_err(|error| unusable(certificate, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, DatabaseError> {
    let content = content(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let read = read.map_err(|error| unusable(path, &error))?;
    match read.is_empty() {
        true => Err(DatabaseError::new(format!(
            "{} holds no certificate",
            path.display()
        ))),
        false => Ok(read),
    }
}

fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, DatabaseError> {
    bounded_file::read(path, MAX_FILE).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> DatabaseError {
    DatabaseError::new(format!("{} cannot be used: {error}", path.display()))
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = rustls_pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Self::Error> {
        Ok(Handshake {
            connector: TlsConnector::from(Arc::clone(&self.0)),
            server: ServerName::try_from(host.to_owned())?,
        })
    }
}

/// A handshake with a server of this name.
pub(super) struct Handshake {
    connector: TlsConnector,
    server: ServerName<'static>,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Encrypted<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        async move {
            let stream = self.connector.connect(self.server, stream).await?;
            Ok(Encrypted(Box::new(stream)))
        }
        .boxed()
    }
}

/// A connection that is encrypted.
pub(super) struct Encrypted<S>(Box<client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    /// None: the server was verified by its name and a CA that was given for it, so that there is no
    /// other connection that a password could be passed on to.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
