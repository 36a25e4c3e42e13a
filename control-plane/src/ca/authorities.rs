//! The slots together with the certificates that fill them, as they are stored.

use std::collections::BTreeMap;

use countersign_model::Serial;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::slots::{Slot, SlotState, Slots, Tier};
use crate::store::{Change, Kind};

/// One CA certificate.
#[derive(Clone, Debug)]
pub(crate) struct CaRecord {
    pub(crate) key_id: String,
    pub(crate) tier: Tier,
    pub(crate) serial: Serial,
    pub(crate) issued_by: String,
    pub(crate) issued_at: Timestamp,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) certificate: CertificateDer<'static>,
}

/// A CA certificate and its slot, as JSON in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredCa {
    tier: Tier,
    state: SlotState,
    serial: Serial,
    issued_by: String,
    issued_at: Timestamp,
    not_before: Timestamp,
    not_after: Timestamp,
    /// DER, hexadecimal.
    certificate: String,
}

/// Every CA that is remembered. Cloned, changed and stored before it is seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorities {
    slots: Slots,
    records: BTreeMap<String, CaRecord>,
}

impl Authorities {
    /// The authorities as they were stored, by key id; `None` where one is damaged.
    pub(crate) fn restore(stored: impl IntoIterator<Item = (String, StoredCa)>) -> Option<Self> {
        let mut slots = Vec::new();
        let mut records = BTreeMap::new();
        for (key_id, ca) in stored {
            let slot = Slot {
                tier: ca.tier,
                state: ca.state,
                issued_by: ca.issued_by.clone(),
                not_after: ca.not_after,
                live_until: None,
            };
            slots.push((key_id.clone(), slot));
            let record = CaRecord {
                key_id: key_id.clone(),
                tier: ca.tier,
                serial: ca.serial,
                issued_by: ca.issued_by,
                issued_at: ca.issued_at,
                not_before: ca.not_before,
                not_after: ca.not_after,
                certificate: hex::decode(ca.certificate).ok()?.into(),
            };
            records.insert(key_id, record);
        }
        let slots = Slots::restore(slots);
        Some(Self { slots, records })
    }

    /// Keeps the certificate of a CA whose slot was made.
    pub(crate) fn keep(&mut self, record: CaRecord) {
        self.records.insert(record.key_id.clone(), record);
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(crate) fn slots_mut(&mut self) -> &mut Slots {
        &mut self.slots
    }

    /// One CA.
    pub(crate) fn record(&self, key_id: &str) -> Option<&CaRecord> {
        self.records.get(key_id)
    }

    /// The CA of a tier that signs.
    pub(crate) fn active(&self, tier: Tier) -> Option<&CaRecord> {
        self.record(self.slots.active(tier)?)
    }

    /// Every CA of a tier with its state, newest first.
    pub(crate) fn of_tier(&self, tier: Tier) -> Vec<(&CaRecord, SlotState)> {
        let slots = self.slots.iter().filter(|(_, slot)| slot.tier == tier);
        let mut all: Vec<_> = slots
            .filter_map(|(key_id, slot)| Some((self.record(key_id)?, slot.state)))
            .collect();
        all.sort_by_key(|(record, _)| std::cmp::Reverse(record.serial.index()));
        all
    }

    /// Forgets what was dropped.
    pub(crate) fn drop_dead(&mut self, now: Timestamp) -> Vec<String> {
        let dropped = self.slots.drop_dead(now);
        self.records.retain(|key_id, _| !dropped.contains(key_id));
        dropped
    }

    /// What must be written to come from `before` to `self`.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<Change> {
        let differs = |key_id: &String, slot: &Slot| {
            let old = before.slots.get(key_id);
            old.is_none_or(|old| old.state != slot.state)
        };
        let mut changes: Vec<_> = self
            .slots
            .iter()
            .filter(|(key_id, slot)| differs(key_id, slot))
            .filter_map(|(key_id, slot)| {
                let stored = StoredCa::new(self.record(key_id)?, slot.state);
                Some(Change::put(Kind::Authority, key_id.clone(), &stored))
            })
            .collect();
        let gone = before.slots.iter().map(|(key_id, _)| key_id);
        changes.extend(
            gone.filter(|key_id| self.slots.get(key_id).is_none())
                .map(|key_id| Change::remove(Kind::Authority, key_id.clone())),
        );
        changes
    }
}

impl StoredCa {
    fn new(record: &CaRecord, state: SlotState) -> Self {
        Self {
            tier: record.tier,
            state,
            serial: record.serial,
            issued_by: record.issued_by.clone(),
            issued_at: record.issued_at,
            not_before: record.not_before,
            not_after: record.not_after,
            certificate: hex::encode(&record.certificate),
        }
    }
}
