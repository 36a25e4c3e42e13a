//! Manual issuance: an operator has a certification request signed, for a key that no node holds.
//!
//! The chain goes back to the operator and to no stream. The same key gets the same certificate
//! again while that is young, so that a retry costs nothing, and a new one from the time on at which
//! a sidecar would renew: a device may keep its key.

use countersign_ca::authorities::Path;
use countersign_ca::sign::Signed;
use countersign_issue::issuance::Issuance;
use countersign_issue::request::Requested;
use countersign_model::{
    Coordinate, EntitlementId, Lifetime, RegistrationKey, Serial, SpiffeId, whole_second,
};
use countersign_refusal::Denied;
use countersign_registry::{Authorized, authorize_manual};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tracing::info;

use super::applicant::{Applicant, Key};
use super::steps::{damaged_entry, presented};
use crate::state::State;
use crate::{Authority, AuthorityError};

/// A certificate that an operator was given.
#[derive(Clone, Debug)]
pub struct ManualCertificate {
    /// The identity.
    pub id: SpiffeId,
    /// Its serial.
    pub serial: Serial,
    /// Leaf first, root not included.
    pub chain: Vec<CertificateDer<'static>>,
    /// From issue to NotAfter.
    pub lifetime: Lifetime,
}

/// An operator who asks for the certificate of an identity.
struct ManualIssuance<'a> {
    id: &'a SpiffeId,
    /// Follows from the ID.
    entitlement: EntitlementId,
}

impl Authority {
    /// Certifies the key of a certification request for an ID that is registered to be signed by
    /// hand.
    ///
    /// # Errors
    /// No such registration, an unacceptable key; or the store or the CA is unavailable.
    pub async fn sign_manually(
        &self,
        id: &SpiffeId,
        requested: Requested,
        now: Timestamp,
    ) -> Result<ManualCertificate, AuthorityError> {
        let id = id.clone();
        self.to_the_end(async move |this| {
            this.sign_manually_unabandoned(&id, &requested, now).await
        })
        .await
    }

    pub(crate) async fn sign_manually_unabandoned(
        &self,
        id: &SpiffeId,
        requested: &Requested,
        now: Timestamp,
    ) -> Result<ManualCertificate, AuthorityError> {
        let entitlement = RegistrationKey::manual(id.clone()).entitlement_id();
        let (spki, sha256) = (requested.spki(), requested.spki_sha256());
        let asked = ManualIssuance { id, entitlement };
        self.issue(&asked, &Key { spki, sha256 }, now).await
    }

    /// A manual certificate that was found in the log: its key stays taken.
    pub(crate) fn restore_manual(&self, issuance: &Issuance) -> Result<(), AuthorityError> {
        let entitlement = EntitlementId::parse(&issuance.entitlement).ok_or_else(damaged_entry)?;
        let mut state = self.state.write();
        if state.keys.found(issuance) {
            state.manual.note(&entitlement, issuance);
        }
        Ok(())
    }
}

impl Applicant for ManualIssuance<'_> {
    type Given = ManualCertificate;

    fn node(&self) -> Option<&SpiffeId> {
        None
    }

    fn entitlement(&self) -> &EntitlementId {
        &self.entitlement
    }

    fn authorize(&self, state: &State, now: Timestamp) -> Result<Authorized, Denied> {
        authorize_manual(&state.registry, self.id, now)
    }

    /// From the earliest moment on at which a sidecar would renew, where the certificate before
    /// would end earlier than a new one.
    fn renews(
        &self,
        authority: &Authority,
        before: &Issuance,
        authorized: &Authorized,
        now: Timestamp,
    ) -> bool {
        let lifetime = lifetime(before);
        let end = now.checked_add(authorized.ttl()).unwrap_or(Timestamp::MAX);
        let issuer = authority.hierarchy.read().issuing();
        let end = issuer.map(|(issuer, _)| whole_second(end).min(issuer.not_after));
        let window = authority.settings.renew;
        window.moment(&lifetime, 0.0) <= now && end.is_some_and(|end| end > before.not_after)
    }

    /// The chain went to an operator: a new certificate costs as little as finding it.
    fn given_elsewhere(
        &self,
        _: &State,
        _: Coordinate,
        _: &Authorized,
        _: Timestamp,
    ) -> Option<Self::Given> {
        None
    }

    fn given(
        &self,
        signed: &Signed,
        above: Path,
        _: &Authorized,
    ) -> Result<Self::Given, AuthorityError> {
        let issuance = signed.issuance();
        Ok(ManualCertificate {
            id: self.id.clone(),
            serial: issuance.serial,
            chain: presented(signed, &above),
            lifetime: lifetime(issuance),
        })
    }

    fn record(&self, state: &mut State, issuance: &Issuance, _: &Self::Given) {
        state.manual.note(&self.entitlement, issuance);
    }

    fn tell(&self, _: &Authority, given: &Self::Given) {
        info!(spiffe_id = %given.id, serial = %given.serial, not_after = %given.lifetime.not_after,
            "certificate signed by hand");
    }
}

fn lifetime(issuance: &Issuance) -> Lifetime {
    Lifetime {
        issued_at: issuance.issued_at,
        not_after: issuance.not_after,
    }
}
