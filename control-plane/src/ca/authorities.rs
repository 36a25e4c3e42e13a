//! The slots together with the certificates that fill them, as they are stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_proto::log::Rotated;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::keys::StoreKind;
use super::slots::{Slot, SlotState, Slots, Tier};
use crate::store::{Change, Kind};

/// One CA certificate.
#[derive(Clone, Debug)]
pub(crate) struct CaRecord {
    pub(crate) key_id: String,
    pub(crate) tier: Tier,
    /// Where its key is; `None` for a root that is not ours.
    pub(crate) store: Option<StoreKind>,
    /// The subject key identifier in its certificate, lower-case hex: not always the key id where
    /// another CA signed it.
    pub(crate) key_identifier: String,
    /// Its serial, lower-case hex: the coordinate of a log entry only if we signed it.
    pub(crate) serial: String,
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
    #[serde(default = "on_disk")]
    store: Option<StoreKind>,
    #[serde(default)]
    key_identifier: Option<String>,
    serial: String,
    issued_by: String,
    issued_at: Timestamp,
    not_before: Timestamp,
    not_after: Timestamp,
    /// DER, hexadecimal.
    certificate: String,
}

/// The certificates above a leaf, the CA that signed it first and the root left out. One copy for
/// all that this CA signed.
pub(crate) type Path = Arc<[CertificateDer<'static>]>;

/// Every CA that is remembered. Cloned, changed and stored before it is seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorities {
    slots: Slots,
    records: BTreeMap<String, CaRecord>,
    /// Of every CA whose issuers are all known; follows from the records.
    paths: BTreeMap<String, Path>,
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
                store: ca.store,
                key_identifier: ca.key_identifier.unwrap_or_else(|| key_id.clone()),
                serial: ca.serial,
                issued_by: ca.issued_by,
                issued_at: ca.issued_at,
                not_before: ca.not_before,
                not_after: ca.not_after,
                certificate: hex::decode(ca.certificate).ok()?.into(),
            };
            records.insert(key_id, record);
        }
        let mut restored = Self {
            slots: Slots::restore(slots),
            records,
            paths: BTreeMap::new(),
        };
        restored.lay_paths();
        Some(restored)
    }

    /// Keeps the certificate of a CA whose slot was made.
    pub(crate) fn keep(&mut self, record: CaRecord) {
        self.records.insert(record.key_id.clone(), record);
        self.lay_paths();
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

    /// The certificates from a CA up to the root, which is left out: what is presented after a
    /// certificate that it issued.
    pub(crate) fn path(&self, key_id: &str) -> Option<Path> {
        self.paths.get(key_id).cloned()
    }

    /// What was handed out already is kept where it still holds, so that it stays one copy.
    fn lay_paths(&mut self) {
        let key_ids = self.records.keys();
        let laid = key_ids.filter_map(|key_id| {
            let walked = self.walk(key_id)?;
            let kept = self.paths.get(key_id);
            let kept = kept.filter(|kept| kept.iter().eq(walked.iter().copied()));
            let path = kept.cloned();
            let path = path.unwrap_or_else(|| walked.into_iter().cloned().collect());
            Some((key_id.clone(), path))
        });
        self.paths = laid.collect();
    }

    fn walk(&self, key_id: &str) -> Option<Vec<&CertificateDer<'static>>> {
        let mut at = self.record(key_id)?;
        let mut path = Vec::new();
        while at.tier != Tier::Root {
            path.push(&at.certificate);
            at = self.record(&at.issued_by)?;
        }
        Some(path)
    }

    /// Every CA of a tier with its state, newest first.
    pub(crate) fn of_tier(&self, tier: Tier) -> Vec<(&CaRecord, SlotState)> {
        let slots = self.slots.iter().filter(|(_, slot)| slot.tier == tier);
        let mut all: Vec<_> = slots
            .filter_map(|(key_id, slot)| Some((self.record(key_id)?, slot.state)))
            .collect();
        // Our serials rise with the log, which tells those of one moment apart.
        all.sort_by(|(a, _), (b, _)| {
            let order = |record: &CaRecord| (record.issued_at, record.serial.clone());
            order(b).cmp(&order(a))
        });
        all
    }

    /// Forgets what was dropped.
    pub(crate) fn drop_dead(&mut self, now: Timestamp) -> Vec<String> {
        let dropped = self.slots.drop_dead(now);
        self.prune();
        dropped
    }

    /// Forgets the certificate of every slot that is no more.
    pub(crate) fn prune(&mut self) {
        let Self { slots, records, .. } = self;
        records.retain(|key_id, _| slots.get(key_id).is_some());
        self.lay_paths();
    }

    /// The CA of a certificate.
    pub(crate) fn with_certificate(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Option<(&CaRecord, SlotState)> {
        let mut records = self.records.values();
        let record = records.find(|record| record.certificate == *certificate)?;
        Some((record, self.slots.get(&record.key_id)?.state))
    }

    /// What the issuance log says of the way from `before` to `self`.
    pub(crate) fn steps_since(&self, before: &Self) -> Vec<Rotated> {
        let step = |key_id: &str, slot: &Slot, state: &str| Rotated {
            tier: slot.tier.as_str().to_owned(),
            key_id: key_id.to_owned(),
            state: state.to_owned(),
        };
        let present = self.slots.iter().filter_map(|(key_id, slot)| {
            let old = before.slots.get(key_id);
            let is_same = old.is_some_and(|old| old.state == slot.state);
            (!is_same).then(|| step(key_id, slot, slot.state.as_str()))
        });
        let gone = before.slots.iter().filter_map(|(key_id, slot)| {
            let is_gone = self.slots.get(key_id).is_none();
            is_gone.then(|| step(key_id, slot, "dropped"))
        });
        present.chain(gone).collect()
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
            store: record.store,
            key_identifier: Some(record.key_identifier.clone()),
            serial: record.serial.clone(),
            issued_by: record.issued_by.clone(),
            issued_at: record.issued_at,
            not_before: record.not_before,
            not_after: record.not_after,
            certificate: hex::encode(&record.certificate),
        }
    }
}

/// Before a store was noted, every key was on disk.
#[allow(clippy::unnecessary_wraps, reason = "the type of the field")]
fn on_disk() -> Option<StoreKind> {
    Some(StoreKind::Disk)
}
