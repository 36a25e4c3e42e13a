//! Calls a service with mTLS under an X.509-SVID, and again once the SVID was renewed.
//!
//! usage: countersign-example-client HOST:PORT OWN_ID PEER_ID, with SPIFFE_ENDPOINT_SOCKET

#![allow(clippy::print_stdout, reason = "its output is what a reader sees")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use spiffe::x509_source::SvidPicker;
use spiffe::{X509Source, X509Svid};
use spiffe_rustls::{TrustDomainPolicy, authorizer, mtls_client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const TIMEOUT: Duration = Duration::from_secs(10);
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer that is read.
const MAX_ANSWER: u64 = 64 * 1024;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, own, peer] = &arguments[..] else {
        bail!("usage: countersign-example-client HOST:PORT OWN_ID PEER_ID");
    };
    let builder = X509Source::builder().picker(Own(own.clone()));
    let source = timeout(TIMEOUT, builder.build()).await??;
    let first = source.svid()?;
    println!("holds {own}, {}", describe(&first)?);
    call(&source, address, peer).await?;
    let renewed = timeout(RENEWAL_TIMEOUT, renewal(&source, &first));
    let renewed = renewed.await.context("not renewed")??;
    println!("renewed: {}", describe(&renewed)?);
    call(&source, address, peer).await
}

/// Our own identity, of those that this process may have.
struct Own(String);

impl SvidPicker for Own {
    fn pick_svid(&self, svids: &[Arc<X509Svid>]) -> Option<usize> {
        let is_own = |svid: &Arc<X509Svid>| svid.spiffe_id().to_string() == self.0;
        svids.iter().position(is_own)
    }
}

async fn renewal(source: &X509Source, old: &X509Svid) -> Result<Arc<X509Svid>> {
    let mut updates = source.updated();
    loop {
        let svid = source.svid()?;
        if svid.leaf().as_bytes() != old.leaf().as_bytes() {
            return Ok(svid);
        }
        updates.changed().await?;
    }
}

/// One request over a connection of its own, to the workload of that SPIFFE ID and no other.
async fn call(source: &X509Source, address: &str, peer: &str) -> Result<()> {
    let peer_id = spiffe::SpiffeId::new(peer)?;
    let config = mtls_client(source.clone())
        .trust_domain_policy(TrustDomainPolicy::LocalOnly(peer_id.trust_domain().clone()))
        .authorize(authorizer::exact([peer])?)
        .build()?;
    let stream = timeout(TIMEOUT, TcpStream::connect(address)).await??;
    // A client must name a host; the peer is recognised by its SPIFFE ID alone.
    let name = rustls_pki_types::ServerName::try_from("workload")?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = timeout(TIMEOUT, connector.connect(name, stream)).await??;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    let mut bounded = stream.take(MAX_ANSWER);
    timeout(TIMEOUT, bounded.read_to_string(&mut answer)).await??;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    println!("{peer} answers: {}", body.trim());
    Ok(())
}

fn describe(svid: &X509Svid) -> Result<String> {
    let (_, leaf) = x509_parser::parse_x509_certificate(svid.leaf().as_bytes())?;
    let until = leaf.validity().not_after;
    Ok(format!("serial {:x}, until {until}", leaf.serial))
}
