//! A published X.509-SVID: the last proof of the pipeline.
//!
//! One is kept of every entitlement, so it holds nothing twice: the certificates above the leaf
//! are one copy for all that a CA signed, and the names are the texts that the registry keeps.

use countersign_model::{EntitlementId, Lifetime, Serial, SpiffeId};
use countersign_registry::Authorized;
use rustls_pki_types::CertificateDer;

use countersign_ca::authorities::Path;
use countersign_ca::sign::Signed;

/// A published X.509-SVID. Made of a [`Signed`] certificate and of nothing else.
#[derive(Clone, Debug)]
pub struct PublishedSvid {
    /// Whose node.
    pub node: SpiffeId,
    /// Which entitlement.
    pub entitlement: EntitlementId,
    /// The identity.
    pub id: SpiffeId,
    /// Its serial, also the version of the resource.
    pub serial: Serial,
    /// From issue to NotAfter.
    pub lifetime: Lifetime,
    leaf: CertificateDer<'static>,
    above: Path,
    /// Keeps others from making one.
    _proof: Proof,
}

#[derive(Clone, Debug)]
struct Proof;

/// Whose an SVID is, in texts that are kept anyway.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) node: SpiffeId,
    pub(super) entitlement: EntitlementId,
    pub(super) id: SpiffeId,
}

impl Holder {
    /// Who was authorized; `None` for what is signed by hand.
    pub(super) fn of(authorized: &Authorized) -> Option<Self> {
        Some(Self {
            node: authorized.node()?.clone(),
            entitlement: authorized.entitlement().clone(),
            id: authorized.id().clone(),
        })
    }
}

impl PublishedSvid {
    /// The SVID that a signed entry is; `None` where the entry is not this holder's.
    pub(super) fn of(signed: &Signed, above: Path, holder: Holder) -> Option<Self> {
        let issuance = signed.issuance();
        let is_theirs = issuance.node == holder.node.as_str()
            && issuance.entitlement == holder.entitlement.as_str()
            && issuance.spiffe_id == holder.id.as_str();
        is_theirs.then(|| Self {
            node: holder.node,
            entitlement: holder.entitlement,
            id: holder.id,
            serial: issuance.serial,
            lifetime: Lifetime {
                issued_at: issuance.issued_at,
                not_after: issuance.not_after,
            },
            leaf: signed.certificate().clone(),
            above,
            _proof: Proof,
        })
    }

    /// What stands above the leaf.
    #[cfg(test)]
    pub(super) fn above(&self) -> &Path {
        &self.above
    }

    /// Leaf first, root not included.
    pub fn chain(&self) -> Vec<CertificateDer<'_>> {
        let chain = std::iter::once(&self.leaf).chain(self.above.iter());
        chain
            .map(|der| CertificateDer::from(der.as_ref()))
            .collect()
    }
}
