//! One mTLS connection with HTTP/2 on it: what a sidecar holds, without what it spends on judging
//! the control plane, for the client shares the cores with what is measured.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use countersign_proto::KEY_PROOF_EXPORTER;
use countersign_serve::grpc::Keepalive;
use countersign_verify::tls::provider;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rcgen::KeyPair;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response, Uri};
use tower::Service;

/// A connection.
#[derive(Clone, Debug)]
pub struct Link {
    /// gRPC on it.
    pub calls: Calls,
    /// What key proofs on it are bound to.
    pub exporter: [u8; 32],
}

/// Connects, with a client certificate where there is one.
///
/// # Errors
/// The handshake failed.
pub async fn dial(
    address: SocketAddr,
    identity: Option<(&[CertificateDer<'static>], &KeyPair)>,
) -> Result<Link> {
    over(TcpStream::connect(address).await?, identity, None).await
}

/// As [`dial`], over what is connected already; whoever answers is asked from time to time whether it is still
/// there.
///
/// # Errors
/// The handshake failed.
pub async fn over(
    tcp: TcpStream,
    identity: Option<(&[CertificateDer<'static>], &KeyPair)>,
    keepalive: Option<Keepalive>,
) -> Result<Link> {
    tcp.set_nodelay(true)?;
    let tls = TlsConnector::from(Arc::new(config(identity)?));
    let name = ServerName::try_from("control-plane")?;
    let tls = tls.connect(name, tcp).await?;
    let session = tls.get_ref().1;
    let exporter = session.export_keying_material([0; 32], KEY_PROOF_EXPORTER, None)?;
    let calls = http(tls, keepalive).await?;
    Ok(Link { calls, exporter })
}

/// HTTP/2 on a connection.
///
/// # Errors
/// The other side speaks something else.
pub async fn http<S>(stream: S, keepalive: Option<Keepalive>) -> Result<Calls>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut http = http2::Builder::new(TokioExecutor::new());
    if let Some(Keepalive { interval, timeout }) = keepalive {
        http.timer(TokioTimer::new())
            .keep_alive_interval(interval)
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(true);
    }
    let (calls, connection) = http.handshake(TokioIo::new(stream)).await?;
    // How a connection ends is seen by the calls on it.
    tokio::spawn(async { drop(connection.await) });
    Ok(Calls(calls))
}

pub(crate) fn config(
    identity: Option<(&[CertificateDer<'static>], &KeyPair)>,
) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unjudging));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let pkcs8 = PrivateKeyDer::Pkcs8(key.serialize_der().into());
            let key = aws_lc_rs::sign::any_supported_type(&pkcs8)?;
            let certified = CertifiedKey::new(chain.to_vec(), key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Takes any certificate: a benchmark's client has nothing to protect.
#[derive(Debug)]
struct Unjudging;

impl ServerCertVerifier for Unjudging {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// HTTP/2 as tonic's generated clients take it.
#[derive(Clone, Debug)]
pub struct Calls(SendRequest<Body>);

/// The authority of the requests; the connection is there already.
pub fn origin() -> Uri {
    Uri::from_static("http://control-plane")
}

impl Service<Request<Body>> for Calls {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
