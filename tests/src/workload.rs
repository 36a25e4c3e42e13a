//! A workload: a client of the SPIFFE Workload API that follows its identity.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_model::SpiffeId;
use countersign_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use countersign_proto::workload::{X509svidRequest, X509svidResponse};
use countersign_verify::tls::{self, IdentityCell, TrustCell};
use countersign_verify::{BundleSet, TrustBundle};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

/// Between two attempts to open the stream again.
const RETRY: Duration = Duration::from_millis(100);

/// A channel to a Unix socket.
///
/// # Errors
/// The path is no socket address.
pub fn channel(socket: &Path) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("unix://{}", socket.display()))?.connect_lazy())
}

/// Opens the stream of X.509-SVIDs for the calling process.
///
/// # Errors
/// The status that the Workload API answered.
pub async fn fetch_x509_svid(socket: &Path) -> Result<Streaming<X509svidResponse>, tonic::Status> {
    let channel = channel(socket).map_err(|error| tonic::Status::internal(error.to_string()))?;
    let mut request = Request::new(X509svidRequest {});
    let header = tonic::metadata::MetadataValue::from_static("true");
    request.metadata_mut().insert("workload.spiffe.io", header);
    let mut client = SpiffeWorkloadApiClient::new(channel);
    Ok(client.fetch_x509svid(request).await?.into_inner())
}

/// One identity of this process, kept up to date by its stream.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<IdentityCell>,
    trust: Arc<TrustCell>,
    serials: watch::Receiver<Vec<String>>,
    _following: Arc<Following>,
}

/// Ends the task with its last owner.
#[derive(Debug)]
struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Identity {
    /// Follows `id` at a sidecar's socket; returns once it is held. The stream is opened again
    /// when it ends, and what was held stays in use meanwhile.
    ///
    /// # Errors
    /// The identity does not come within the bound.
    pub async fn follow(socket: &Path, id: &SpiffeId) -> Result<Self> {
        let (key, trust) = (IdentityCell::empty(), TrustCell::new(BundleSet::default()));
        let (seen, mut serials) = watch::channel(Vec::new());
        let (socket, wanted) = (socket.to_owned(), id.clone());
        let cells = (Arc::clone(&key), Arc::clone(&trust));
        let task = tokio::spawn(async move {
            loop {
                // A refusal, or the end of the stream: the sidecar may be restarting.
                let _ = follow_once(&socket, &wanted, &cells, &seen).await;
                tokio::time::sleep(RETRY).await;
            }
        });
        let following = Arc::new(Following(task.abort_handle()));
        let first = serials.wait_for(|serials| !serials.is_empty());
        tokio::time::timeout(crate::wait::BOUND, first)
            .await
            .with_context(|| format!("no {id} at the Workload API"))??;
        Ok(Self {
            key,
            trust,
            serials,
            _following: following,
        })
    }

    /// Certificate and key at this moment.
    pub fn key(&self) -> Arc<IdentityCell> {
        Arc::clone(&self.key)
    }

    /// The trust bundle at this moment.
    pub fn trust(&self) -> Arc<TrustCell> {
        Arc::clone(&self.trust)
    }

    /// The serials (hex) of what was in use, in the order in which it was: one that came back is in it
    /// again.
    pub fn history(&self) -> Vec<String> {
        self.serials.borrow().clone()
    }

    /// The serials (hex) of every certificate that was delivered.
    pub fn serials(&self) -> BTreeSet<String> {
        self.serials.borrow().iter().cloned().collect()
    }

    /// The serial (hex) of the certificate that came last.
    pub fn newest(&self) -> Option<String> {
        self.serials.borrow().last().cloned()
    }

    /// How often the certificate was renewed since the first one.
    pub fn renewals(&self) -> usize {
        self.serials.borrow().len().saturating_sub(1)
    }
}

async fn follow_once(
    socket: &Path,
    wanted: &SpiffeId,
    (key, trust): &(Arc<IdentityCell>, Arc<TrustCell>),
    seen: &watch::Sender<Vec<String>>,
) -> Result<()> {
    let mut stream = fetch_x509_svid(socket).await?;
    while let Some(response) = stream.message().await? {
        let mut svids = response.svids.iter();
        let Some(svid) = svids.find(|svid| svid.spiffe_id == wanted.as_str()) else {
            continue;
        };
        let roots = certificates(&svid.bundle)?;
        let bundle = TrustBundle::new(wanted.trust_domain().clone(), roots)?;
        trust.install(std::iter::once(Arc::new(bundle)).collect());
        let chain = certificates(&svid.x509_svid)?;
        let leaf = tls::peer_of(&chain).context("an SVID that is none")?;
        key.install(tls::certified_key(chain, &svid.x509_svid_key)?);
        let serial = serial(&hex::encode(&leaf.serial));
        seen.send_if_modified(|serials| {
            let new = serials.last() != Some(&serial);
            if new {
                serials.push(serial);
            }
            new
        });
    }
    Ok(())
}

/// The one form of a serial: hex without leading zeros, in lower case.
pub fn serial(hex: &str) -> String {
    hex.trim_start_matches('0').to_ascii_lowercase()
}

/// Splits concatenated DER certificates, the form of the Workload API.
///
/// # Errors
/// Bytes that are no certificates.
pub fn certificates(der: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let mut rest = der;
    let mut certificates = Vec::new();
    while !rest.is_empty() {
        let (after, _) = x509_parser::parse_x509_certificate(rest).context("no certificate")?;
        certificates.push(CertificateDer::from(
            rest[..rest.len() - after.len()].to_vec(),
        ));
        rest = after;
    }
    Ok(certificates)
}

/// Certificates as PEM blocks (RFC 7468).
pub fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    const LINE: usize = 64;
    let block = |der: &CertificateDer<'_>| {
        let text = BASE64.encode(der);
        let lines = text.as_bytes().chunks(LINE).map(String::from_utf8_lossy);
        let lines = lines.collect::<Vec<_>>().join("\n");
        format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
    };
    certificates.iter().map(block).collect()
}
