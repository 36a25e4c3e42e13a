//! A published X.509-SVID: the last proof of the pipeline.

use countersign_model::{EntitlementId, Lifetime, Serial, SpiffeId};
use rustls_pki_types::CertificateDer;

use crate::ca::sign::Signed;

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
    /// Leaf first, root not included.
    pub chain: Vec<CertificateDer<'static>>,
    /// From issue to NotAfter.
    pub lifetime: Lifetime,
    /// Keeps others from making one.
    _proof: Proof,
}

#[derive(Clone, Debug)]
struct Proof;

impl PublishedSvid {
    /// The SVID that a signed entry is; `None` where the entry is none of ours.
    pub(super) fn of(signed: &Signed, chain: Vec<CertificateDer<'static>>) -> Option<Self> {
        let issuance = signed.issuance();
        Some(Self {
            node: SpiffeId::new(&issuance.node).ok()?,
            entitlement: EntitlementId::parse(&issuance.entitlement)?,
            id: SpiffeId::new(&issuance.spiffe_id).ok()?,
            serial: issuance.serial,
            chain,
            lifetime: Lifetime {
                issued_at: issuance.issued_at,
                not_after: issuance.not_after,
            },
            _proof: Proof,
        })
    }
}
