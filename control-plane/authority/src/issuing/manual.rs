//! Signing by hand: the same path as an enrolment, for a key that no node holds.
//!
//! Authorize, lint, log, sign; the chain goes back to the operator and to no stream. The same key
//! gets the same certificate again while that is young, so that a retry costs nothing, and a new one
//! from the time on at which a sidecar would renew: a device may keep its key.

use std::collections::HashMap;

use countersign_ca::sign::Signed;
use countersign_issue::issuance::Issuance;
use countersign_issue::request::Requested;
use countersign_model::{EntitlementId, Lifetime, Serial, SpiffeId, whole_second};
use countersign_refusal::Denied;
use countersign_registry::{Authorized, authorize_by_hand};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tracing::{info, info_span};

use super::steps::damaged_entry;
use crate::series::Phase;
use crate::state::State;
use crate::undelivered::Undelivered;
use crate::{Authority, AuthorityError};

/// A certificate that was signed by hand.
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

/// What was signed by hand, by registration.
#[derive(Debug, Default)]
pub(crate) struct ManualRecords(HashMap<EntitlementId, Last>);

#[derive(Debug)]
struct Last {
    /// Log index of the newest.
    index: u64,
    /// The latest NotAfter of all.
    end: Timestamp,
}

impl ManualRecords {
    fn note(&mut self, entitlement: &EntitlementId, index: u64, end: Timestamp) {
        let last = self.0.entry(entitlement.clone());
        let last = last.or_insert(Last { index, end });
        last.index = last.index.max(index);
        last.end = last.end.max(end);
    }

    /// Log index of the newest.
    fn newest(&self, entitlement: &EntitlementId) -> Option<u64> {
        Some(self.0.get(entitlement)?.index)
    }

    /// The latest NotAfter of all that were signed.
    pub(crate) fn last_end(&self, entitlement: &EntitlementId) -> Option<Timestamp> {
        Some(self.0.get(entitlement)?.end)
    }

    pub(crate) fn forget_expired(&mut self, now: Timestamp) {
        self.0.retain(|_, last| last.end >= now);
    }
}

impl Authority {
    /// Certifies the key of a certification request for an ID that is registered by hand.
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
        self.to_the_end(async move |this| this.sign_now(&id, &requested, now).await)
            .await
    }

    pub(crate) async fn sign_now(
        &self,
        id: &SpiffeId,
        requested: &Requested,
        now: Timestamp,
    ) -> Result<ManualCertificate, AuthorityError> {
        let authorized = self.may_sign(id, now)?;
        let _one_at_a_time = self.enrolling.lock(None, authorized.entitlement()).await;
        let spki_sha256 = requested.spki_sha256();
        let signed_before = self.write().keys.claim(spki_sha256, &authorized, now)?;
        if let Some(index) = signed_before {
            let before = self.logged_before(index)?;
            if !self.is_renewal_due(before.issuance(), &authorized, now) {
                let signed = self.issued_before(before, &authorized, now)?;
                return self.hand_out(id, &signed);
            }
            self.write().keys.renew(spki_sha256, &authorized, now)?;
        }
        let newest = self.read().manual.newest(authorized.entitlement());
        let subject = Box::new(self.subject(authorized).renewing(newest));
        // The right may go while the entry is made durable.
        let stands = |issuance: &Issuance| stands(&self.read(), id, issuance, now);
        let issued = self.issue(subject, requested.spki(), stands, now).await;
        if issued.is_err() {
            self.write().keys.release(&spki_sha256);
        }
        let signed = issued?;
        let svid = match self.give_by_hand(id, &signed, now) {
            Ok(svid) => svid,
            Err(error) => {
                self.void_undelivered(Undelivered::of(signed.issuance()), now)
                    .await;
                return Err(error);
            }
        };
        info!(spiffe_id = %id, serial = %svid.serial, not_after = %svid.lifetime.not_after,
            "certificate signed by hand");
        Ok(svid)
    }

    /// Whether a key that has this certificate is given a new one: at the earliest moment at which
    /// a sidecar would renew, where that certificate would end later.
    fn is_renewal_due(&self, before: &Issuance, authorized: &Authorized, now: Timestamp) -> bool {
        let lifetime = Lifetime {
            issued_at: before.issued_at,
            not_after: before.not_after,
        };
        let end = now.checked_add(authorized.ttl()).unwrap_or(Timestamp::MAX);
        let issuer = self.cas().issuing();
        let end = issuer.map(|(issuer, _)| whole_second(end).min(issuer.not_after));
        let window = self.settings.renew;
        window.moment(&lifetime, 0.0) <= now && end.is_some_and(|end| end > before.not_after)
    }

    fn may_sign(&self, id: &SpiffeId, now: Timestamp) -> Result<Authorized, AuthorityError> {
        let span = info_span!("authorize", spiffe_id = %id);
        let _entered = span.enter();
        let authorize = || authorize_by_hand(&self.read().registry, id, now);
        Ok(self.metrics.timed(Phase::Authorize, authorize)?)
    }

    /// The answer to the operator, if the right to it still stands.
    fn give_by_hand(
        &self,
        id: &SpiffeId,
        signed: &Signed,
        now: Timestamp,
    ) -> Result<ManualCertificate, AuthorityError> {
        let svid = self.hand_out(id, signed)?;
        {
            let mut state = self.write();
            stands(&state, id, signed.issuance(), now)?;
            note_signed(&mut state, signed.issuance())?;
        }
        self.inventory().issued(signed);
        Ok(svid)
    }

    /// What was signed by hand before a restart.
    pub(crate) fn restore_signed(&self, issuance: &Issuance) -> Result<(), AuthorityError> {
        note_signed(&mut self.write(), issuance)
    }

    fn hand_out(
        &self,
        id: &SpiffeId,
        signed: &Signed,
    ) -> Result<ManualCertificate, AuthorityError> {
        let issuance = signed.issuance();
        Ok(ManualCertificate {
            id: id.clone(),
            serial: issuance.serial,
            chain: self.presented(signed)?,
            lifetime: Lifetime {
                issued_at: issuance.issued_at,
                not_after: issuance.not_after,
            },
        })
    }
}

/// What was signed by hand: its key stays taken.
fn note_signed(state: &mut State, issuance: &Issuance) -> Result<(), AuthorityError> {
    let entitlement = EntitlementId::parse(&issuance.entitlement).ok_or_else(damaged_entry)?;
    let (index, end) = (issuance.serial.index(), issuance.not_after);
    state.manual.note(&entitlement, index, end);
    state.keys.issued(issuance);
    Ok(())
}

/// Whether a certificate that was authorized before may still be signed by hand.
fn stands(state: &State, id: &SpiffeId, issuance: &Issuance, now: Timestamp) -> Result<(), Denied> {
    authorize_by_hand(&state.registry, id, now)?.still_allows(issuance.key_epoch)
}
