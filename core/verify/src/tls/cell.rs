//! What a handshake uses and a rotation replaces: read without a lock, swapped in one step.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::BundleSet;

/// The bundles that verifiers judge by, replaced while handshakes go on, and the clock.
#[derive(Default)]
pub struct TrustCell {
    bundles: ArcSwap<BundleSet>,
    /// `None`: that of rustls.
    now: Option<Box<dyn Fn() -> Timestamp + Send + Sync>>,
}

impl TrustCell {
    /// A cell that trusts these bundles.
    pub fn new(bundles: BundleSet) -> Arc<Self> {
        Arc::new(Self {
            bundles: ArcSwap::from_pointee(bundles),
            now: None,
        })
    }

    /// The same, where handshakes are judged by the clock that everything else goes by.
    pub fn with_clock(
        bundles: BundleSet,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            bundles: ArcSwap::from_pointee(bundles),
            now: Some(Box::new(now)),
        })
    }

    /// The time, where rustls says this.
    pub(super) fn now(&self, of_rustls: Timestamp) -> Timestamp {
        self.now.as_ref().map_or(of_rustls, |now| now())
    }

    /// Handshakes that begin from now on are judged by these bundles.
    pub fn install(&self, bundles: BundleSet) {
        self.bundles.store(Arc::new(bundles));
    }

    /// The bundles at this moment.
    pub fn load(&self) -> Arc<BundleSet> {
        self.bundles.load_full()
    }
}

impl fmt::Debug for TrustCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrustCell").field(&self.bundles).finish()
    }
}

/// The certificate and key that a listener or dialler presents, replaced while handshakes go on.
#[derive(Debug, Default)]
pub struct IdentityCell(ArcSwapOption<CertifiedKey>);

impl IdentityCell {
    /// A cell that presents nothing yet: handshakes fail until something is installed.
    pub fn empty() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Handshakes that begin from now on present this.
    pub fn install(&self, key: CertifiedKey) {
        self.0.store(Some(Arc::new(key)));
    }

    /// Handshakes that begin from now on fail: the right to this identity was removed.
    pub fn withdraw(&self) {
        self.0.store(None);
    }

    /// What is presented at this moment.
    pub fn load(&self) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for IdentityCell {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.load()
    }
}

/// An empty cell resolves to no certificate, which a server that merely asks would admit. The
/// verifier of [`client_config`](super::client_config) therefore looks at the cell as well.
impl ResolvesClientCert for IdentityCell {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.load()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
