//! The CAs in memory: their slots and certificates, and the keys that may sign.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::AuthorityInfo;
use crate::ca::authorities::{Authorities, CaRecord};
use crate::ca::keys::CaKey;
use crate::ca::slots::{SlotState, Tier};
use crate::issue::profile::{Issuer, ca_name};

/// The CAs and the keys that this process can sign with.
#[derive(Clone, Debug, Default)]
pub(super) struct Cas {
    pub(super) authorities: Authorities,
    pub(super) keys: HashMap<String, Arc<dyn CaKey>>,
}

impl Cas {
    /// The active issuing CA and its key.
    pub(super) fn issuing(&self) -> Option<(Issuer, Arc<dyn CaKey>)> {
        self.signer(Tier::Issuing)
    }

    pub(super) fn signer(&self, tier: Tier) -> Option<(Issuer, Arc<dyn CaKey>)> {
        let record = self.authorities.active(tier)?;
        Some((record.as_issuer(), self.key(&record.key_id)?))
    }

    pub(super) fn key(&self, key_id: &str) -> Option<Arc<dyn CaKey>> {
        self.keys.get(key_id).cloned()
    }

    pub(super) fn certificate(&self, key_id: &str) -> Option<CertificateDer<'static>> {
        Some(self.authorities.record(key_id)?.certificate.clone())
    }

    /// The ids of all our CA keys: no leaf may have one of them.
    pub(super) fn key_ids(&self) -> Vec<String> {
        let slots = self.authorities.slots().iter();
        slots.map(|(key_id, _)| key_id.clone()).collect()
    }

    pub(super) fn note_leaf(&mut self, issuer: &str, not_after: Timestamp) {
        self.authorities.slots_mut().note_leaf(issuer, not_after);
    }

    /// Keys that no CA in here may sign with any more.
    pub(super) fn idle_keys(&self) -> Vec<String> {
        let slots = self.authorities.slots();
        let idle = |key_id: &&String| {
            let slot = slots.get(key_id);
            slot.is_none_or(|slot| slot.state == SlotState::Retired)
        };
        self.keys.keys().filter(idle).cloned().collect()
    }

    /// The issuing CA may sign until now: what lives under it is kept at least so long.
    pub(super) fn retires_at(&mut self, now: Timestamp) {
        if let Some(issuing) = self.authorities.slots().active(Tier::Issuing) {
            let issuing = issuing.to_owned();
            self.note_leaf(&issuing, now);
        }
    }
}

impl CaRecord {
    pub(super) fn as_issuer(&self) -> Issuer {
        Issuer {
            key_id: self.key_id.clone(),
            common_name: ca_name(self.tier, &self.key_id),
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }

    pub(super) fn as_info(&self, state: SlotState) -> AuthorityInfo {
        AuthorityInfo {
            key_id: self.key_id.clone(),
            subject: format!("CN={}", ca_name(self.tier, &self.key_id)),
            serial: self.serial,
            state,
            not_before: self.not_before,
            not_after: self.not_after,
            issued_by: self.issued_by.clone(),
            certificate: self.certificate.clone(),
        }
    }
}
