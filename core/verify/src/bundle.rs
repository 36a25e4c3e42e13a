//! Trust bundles: the roots of one trust domain each, never merged.
//!
//! A bundle that exists can be trusted: it holds at least one root, and each is a CA certificate
//! that passed the rules of an issuer. A certificate that is no CA is no trust anchor, however it
//! came to be listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_model::TrustDomain;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest, Sha256};

use crate::certificate::Certificate;
use crate::pem::{self, Bounds, PemError};
use crate::{Refusal, svid};

/// Most roots of one trust domain.
pub const MAX_ROOTS: usize = 32;
/// Most bytes of one root.
pub const MAX_ROOT_BYTES: usize = 8 * 1024;
/// Most bytes of PEM that are looked at: [`MAX_ROOTS`] of the largest, base64 and line ends.
pub const MAX_PEM_BYTES: usize = 512 * 1024;

/// A bundle that cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// No root in it: it would refuse everybody, or, at an Envoy, admit everybody.
    #[error("the bundle holds no root certificate")]
    Empty,
    /// More than [`MAX_ROOTS`].
    #[error("the bundle holds more than {MAX_ROOTS} root certificates")]
    TooMany,
    /// A root longer than [`MAX_ROOT_BYTES`].
    #[error("root {index} has {bytes} bytes, more than {MAX_ROOT_BYTES}")]
    RootTooLarge {
        /// Its place in the bundle, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
    },
    /// A root that may not issue SVIDs of this trust domain, or is no certificate.
    #[error("root {index} cannot be trusted: {reason}")]
    Root {
        /// Its place in the bundle, from 0.
        index: usize,
        /// The rule it breaks; the index inside is that of the root.
        reason: Box<Refusal>,
    },
    /// Not the PEM of certificates.
    #[error(transparent)]
    Pem(PemError),
}

/// The root certificates of one trust domain.
#[derive(Debug)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    roots: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    facts: Vec<Root>,
    version: String,
}

/// What a trust anchor does not say about its certificate.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) path_len: Option<u32>,
    pub(crate) may_sign_crls: bool,
}

impl TrustBundle {
    /// Builds a bundle of CA certificates. A repeated certificate counts once.
    ///
    /// # Errors
    /// No root, too many, or one that is no CA certificate.
    pub fn new(
        trust_domain: TrustDomain,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, BundleError> {
        if roots.is_empty() {
            return Err(BundleError::Empty);
        }
        if roots.len() > MAX_ROOTS {
            return Err(BundleError::TooMany);
        }
        let mut seen = BTreeSet::new();
        let mut roots = roots;
        roots.retain(|root| seen.insert(root.to_vec()));
        let mut facts = Vec::with_capacity(roots.len());
        let mut anchors = Vec::with_capacity(roots.len());
        for (index, der) in roots.iter().enumerate() {
            let (root, anchor) = read_root(index, der, &trust_domain)?;
            facts.push(root);
            anchors.push(anchor);
        }
        Ok(Self {
            version: version_of(&seen),
            trust_domain,
            roots,
            anchors,
            facts,
        })
    }

    /// Reads the certificates of a text, as [`pem::read`] does.
    ///
    /// # Errors
    /// As [`TrustBundle::new`], and text that is no PEM of certificates.
    pub fn from_pem(trust_domain: TrustDomain, text: &[u8]) -> Result<Self, BundleError> {
        let bounds = Bounds {
            text: MAX_PEM_BYTES,
            blocks: MAX_ROOTS,
            block: MAX_ROOT_BYTES,
        };
        let roots = pem::read(text, pem::CERTIFICATE, bounds).map_err(|error| match error {
            PemError::TooMany { .. } => BundleError::TooMany,
            PemError::NoBlock { .. } => BundleError::Empty,
            error => BundleError::Pem(error),
        })?;
        Self::new(trust_domain, roots.into_iter().map(Into::into).collect())
    }

    /// Whose roots these are.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots, DER.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The roots as PEM blocks.
    pub fn to_pem(&self) -> String {
        self.roots
            .iter()
            .map(|root| certificate_pem(root))
            .collect()
    }

    /// The roots as concatenated DER, the form of the Workload API.
    pub fn to_der(&self) -> Vec<u8> {
        self.roots
            .iter()
            .flat_map(|root| root.iter().copied())
            .collect()
    }

    /// A hash of the set of roots, independent of their order: 32 hex digits.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The facts of an anchor of this bundle.
    pub(crate) fn root_of(&self, anchor: &TrustAnchor<'_>) -> Option<&Root> {
        let is_it = |ours: &&TrustAnchor<'static>| std::ptr::eq::<TrustAnchor<'_>>(*ours, anchor);
        let index = self.anchors.iter().position(|ours| is_it(&ours))?;
        self.facts.get(index)
    }
}

fn read_root(
    index: usize,
    der: &CertificateDer<'static>,
    trust_domain: &TrustDomain,
) -> Result<(Root, TrustAnchor<'static>), BundleError> {
    let bytes = der.len();
    if bytes > MAX_ROOT_BYTES {
        return Err(BundleError::RootTooLarge { index, bytes });
    }
    let refused = |reason| BundleError::Root {
        index,
        reason: Box::new(reason),
    };
    let root = Certificate::parse(index, der).map_err(refused)?;
    svid::check_issuer(&root, trust_domain).map_err(refused)?;
    let anchor = webpki::anchor_from_trusted_cert(der)
        .map_err(|_| refused(Refusal::Malformed { index }))?
        .to_owned();
    let facts = Root {
        not_before: root.not_before(),
        not_after: root.not_after(),
        path_len: root.path_len(),
        may_sign_crls: root.key_usage().is_some_and(|(usage, _)| usage.crl_sign()),
    };
    Ok((facts, anchor))
}

/// DER says where it ends, so concatenation in order is unambiguous.
fn version_of(roots: &BTreeSet<Vec<u8>>) -> String {
    let hash = roots.iter().fold(Sha256::new(), Sha256::chain_update);
    hex::encode(&hash.finalize()[..VERSION_BYTES])
}

const VERSION_BYTES: usize = 16;

/// Bundles by trust domain. A chain is judged by the bundle of its own trust domain alone.
#[derive(Clone, Debug, Default)]
pub struct BundleSet(BTreeMap<TrustDomain, Arc<TrustBundle>>);

impl BundleSet {
    /// The bundle of one trust domain.
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Arc<TrustBundle>> {
        self.0.get(trust_domain)
    }

    /// All bundles, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TrustBundle>> {
        self.0.values()
    }
}

impl FromIterator<Arc<TrustBundle>> for BundleSet {
    /// Where a trust domain occurs twice, the last bundle replaces the first: they never merge.
    fn from_iter<I: IntoIterator<Item = Arc<TrustBundle>>>(bundles: I) -> Self {
        Self(
            bundles
                .into_iter()
                .map(|b| (b.trust_domain.clone(), b))
                .collect(),
        )
    }
}

/// One certificate as a PEM block with lines of 64 characters.
pub fn pem_block(certificate: &CertificateDer<'_>) -> String {
    certificate_pem(certificate)
}

/// [`pem_block`] of the DER of a certificate.
pub fn certificate_pem(der: &[u8]) -> String {
    pem::write(pem::CERTIFICATE, der)
}

#[cfg(test)]
mod tests;
