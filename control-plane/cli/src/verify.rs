//! `countersign verify`: is this an X.509-SVID that we would accept, and why not. Offline, by the
//! verifier that both daemons use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_model::{SpiffeId, TrustDomain};
use countersign_serve::bounded_file;
use countersign_verify::pem::{self, CERTIFICATE, REVOCATION_LIST};
use countersign_verify::tls::peer_of;
use countersign_verify::{BundleError, BundleSet, Refusal, TrustBundle, verify_svid};
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Serialize;

use crate::output::Output;
use crate::times;

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    countersign verify --bundle bundle.pem --chain svid.pem\n  \
    countersign verify --bundle bundle.pem --chain svid.pem --at 2030-01-01T00:00:00Z --json\n\n\
    Exit 0: accepted. Exit 1: refused, with the rule that the chain breaks.";

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Most blocks of one file: far more than any verdict needs.
const MAX_BLOCKS: usize = 1_024;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The trust bundle: PEM, root certificates of one trust domain
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// The chain: PEM, leaf first
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// Whose bundle it is [default: the trust domain that the leaf names]
    #[arg(long, value_name = "TD")]
    trust_domain: Option<TrustDomain>,
    /// Certificate revocation lists: PEM; then every issuer of the path needs one
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,
    /// Judge at this moment: RFC 3339, a date or Unix seconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = times::moment)]
    at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Verdict {
    accepted: bool,
    reason: Option<String>,
    id: Option<SpiffeId>,
    serial: Option<String>,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    at: Timestamp,
}

impl Verify {
    #[allow(clippy::needless_pass_by_value, reason = "the shape of every verb")]
    pub(crate) fn run(self, now: Timestamp, output: Output) -> Result<Exit, Failure> {
        let chain: Vec<CertificateDer<'static>> = blocks(&self.chain, CERTIFICATE)?;
        let crls: Vec<CertificateRevocationListDer<'static>> = match &self.crl {
            Some(file) => blocks(file, REVOCATION_LIST)?,
            None => Vec::new(),
        };
        let bundles = self.bundles(&chain)?;
        let at = self.at.unwrap_or(now);
        let verdict = judge(&chain, &bundles, &crls, at);
        output.show(&verdict, text)?;
        Ok(if verdict.accepted {
            Exit::Yes
        } else {
            Exit::No
        })
    }

    /// The bundle under the trust domain that was named, else the leaf's. A leaf that names none
    /// is refused whatever the bundle says; a bundle of another trust domain is none for it.
    fn bundles(&self, chain: &[CertificateDer<'_>]) -> Result<BundleSet, Failure> {
        let pem = read(&self.bundle)?;
        let named = self.trust_domain.clone();
        let leaf = || peer_of(chain).map(|leaf| leaf.id.trust_domain());
        let Some(trust_domain) = named.or_else(leaf) else {
            return Ok(BundleSet::default());
        };
        match TrustBundle::from_pem(trust_domain, &pem) {
            Ok(bundle) => Ok([Arc::new(bundle)].into_iter().collect()),
            Err(error) if is_of_another_trust_domain(&error) => Ok(BundleSet::default()),
            Err(error) => {
                let message = format!("{}: {error}", self.bundle.display());
                let remedy = "give PEM root certificates";
                Err(unusable("bundle_unusable", message, remedy))
            }
        }
    }
}

fn is_of_another_trust_domain(error: &BundleError) -> bool {
    let BundleError::Root { reason, .. } = error else {
        return false;
    };
    matches!(**reason, Refusal::IssuerOfOtherTrustDomain { .. })
}

fn judge(
    chain: &[CertificateDer<'_>],
    bundles: &BundleSet,
    crls: &[CertificateRevocationListDer<'_>],
    at: Timestamp,
) -> Verdict {
    let outcome = verify_svid(chain, bundles, crls, at);
    let leaf = outcome.as_ref().ok();
    Verdict {
        accepted: leaf.is_some(),
        id: leaf.map(|leaf| leaf.id.clone()),
        serial: leaf.map(|leaf| hex::encode(&leaf.serial)),
        not_before: leaf.map(|leaf| leaf.not_before),
        not_after: leaf.map(|leaf| leaf.not_after),
        at,
        reason: outcome.as_ref().err().map(ToString::to_string),
    }
}

fn text(verdict: &Verdict) -> String {
    match (&verdict.id, &verdict.not_after, &verdict.reason) {
        (Some(id), Some(until), _) => format!("accepted: {id}, valid until {until}"),
        (_, _, reason) => format!("refused: {}", reason.as_deref().unwrap_or("unknown reason")),
    }
}

/// What the blocks of a file hold, at least one.
pub(crate) fn blocks<T: From<Vec<u8>>>(file: &Path, kind: pem::Kind) -> Result<Vec<T>, Failure> {
    let text = read(file)?;
    let most = text.len();
    let bounds = pem::Bounds {
        text: most,
        blocks: MAX_BLOCKS,
        block: most,
    };
    let blocks = pem::read(&text, kind, bounds).map_err(|error| {
        let message = format!("{}: {error}", file.display());
        let remedy = format!("give PEM blocks of a {}, and of nothing else", kind.name());
        unusable("pem_unreadable", message, &remedy)
    })?;
    Ok(blocks.into_iter().map(T::from).collect())
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let refused = |message: String| {
        let message = format!("cannot read {}: {message}", file.display());
        unusable(
            "file_unreadable",
            message,
            "check the path and its permissions",
        )
    };
    let read = bounded_file::read(file, MAX_FILE_BYTES);
    let mut read = read.map_err(|error| refused(error.to_string()))?;
    Ok(std::mem::take(&mut *read))
}

fn unusable(code: &str, message: String, remedy: &str) -> Failure {
    Failure::new(Exit::Usage, code, message, remedy)
}
