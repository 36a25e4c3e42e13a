//! A published X.509-SVID: the last proof of the pipeline.
//!
//! One is kept for every entitlement, so it shares what it can: all leaves of a CA have one copy of
//! the certificates above them, and the names are the strings that the registry keeps.

use countersign_model::{EntitlementId, Lifetime, Seq, Serial, SpiffeId};
use countersign_registry::Authorized;
use rustls_pki_types::CertificateDer;

use countersign_ca::authorities::Path;
use countersign_ca::sign::Signed;

/// A published X.509-SVID. Made of a [`Signed`] certificate and of nothing else.
#[derive(Clone, Debug)]
pub struct PublishedSvid {
    /// The node that holds it.
    pub node: SpiffeId,
    /// The entitlement that it is for.
    pub entitlement: EntitlementId,
    /// The identity.
    pub id: SpiffeId,
    /// Its serial, also the version of the resource.
    pub serial: Serial,
    /// From issue to NotAfter.
    pub lifetime: Lifetime,
    /// The key epoch of the registration that allowed it.
    pub(super) key_epoch: Option<u64>,
    /// The attestation of its node that allowed it.
    attested: Option<Seq>,
    /// Where it stands among all that were issued.
    pub(super) order: u64,
    leaf: CertificateDer<'static>,
    above: Path,
    /// No other module can make one.
    _proof: Proof,
}

#[derive(Clone, Debug)]
struct Proof;

/// The holder of an SVID, in strings that are shared with the registry.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) node: SpiffeId,
    pub(super) entitlement: EntitlementId,
    pub(super) id: SpiffeId,
}

impl Holder {
    /// The holder that was authorized; `None` where no node holds the key.
    pub(super) fn of(authorized: &Authorized) -> Option<Self> {
        Some(Self {
            node: authorized.node()?.clone(),
            entitlement: authorized.entitlement().clone(),
            id: authorized.id().clone(),
        })
    }
}

impl PublishedSvid {
    /// The SVID of a signed certificate; `None` where that names another holder.
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
            key_epoch: issuance.key_epoch,
            attested: issuance.attested,
            order: issuance.order,
            leaf: signed.certificate().clone(),
            above,
            _proof: Proof,
        })
    }

    /// Whether it says what is allowed by this right, to the lineage that has it.
    pub(super) fn says(&self, right: &Authorized) -> bool {
        self.key_epoch == Some(right.key_epoch()) && self.attested == right.attested()
    }

    /// The certificates above the leaf.
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
