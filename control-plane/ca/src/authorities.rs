//! The slots together with the certificates that fill them, as they are stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_issue::profile::{Issuer, Tier, ca_name};
use countersign_proto::log::Rotated;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key::StoreKind;
use super::slots::{Slot, SlotState, Slots};

/// One CA certificate.
#[derive(Clone, Debug)]
pub struct CaRecord {
    /// The id of its key.
    pub key_id: String,
    /// Its place in the hierarchy.
    pub tier: Tier,
    /// Whose it is: the replica that has the key of an issuing CA. Empty for a root and an
    /// intermediate, and where there are no replicas.
    pub owner: String,
    /// Where its key is; `None` for a root that is not ours.
    pub store: Option<StoreKind>,
    /// The subject key identifier in its certificate, lower-case hex: not always the key id where
    /// another CA signed it.
    pub key_identifier: String,
    /// Its serial, lower-case hex: the coordinate of a log entry only if we signed it.
    pub serial: String,
    /// The key id of its issuer; its own for a root.
    pub issued_by: String,
    /// When it was made here, or imported.
    pub issued_at: Timestamp,
    /// NotBefore.
    pub not_before: Timestamp,
    /// NotAfter.
    pub not_after: Timestamp,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

impl CaRecord {
    /// Names, key and validity that a certificate takes from its issuer.
    pub fn as_issuer(&self) -> Issuer {
        Issuer {
            key_id: self.key_id.clone(),
            key_identifier: self.key_identifier.clone(),
            common_name: ca_name(self.tier, &self.key_id),
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> Option<Vec<u8>> {
        let (_, parsed) = X509Certificate::from_der(&self.certificate).ok()?;
        Some(parsed.public_key().raw.to_vec())
    }

    /// Its subject, for people.
    pub fn subject(&self) -> String {
        let parsed = X509Certificate::from_der(&self.certificate);
        parsed.map_or_else(|_| String::new(), |(_, it)| it.subject().to_string())
    }
}

/// The certificates above a leaf, the CA that signed it first and the root left out. One copy for
/// all that this CA signed.
pub type Path = Arc<[CertificateDer<'static>]>;

/// CAs between a leaf and its root. What is damaged in the store may go in a circle.
const MAX_PATH: usize = 2;

/// Every CA that is remembered. Cloned, changed and stored before it is seen.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    slots: Slots,
    records: BTreeMap<String, CaRecord>,
    /// Paths of the CAs whose issuers are all known. Follows from the records.
    paths: BTreeMap<String, Path>,
}

impl Authorities {
    /// The authorities as they were kept.
    pub fn restore(kept: impl IntoIterator<Item = (CaRecord, SlotState)>) -> Self {
        let mut slots = Vec::new();
        let mut records = BTreeMap::new();
        for (record, state) in kept {
            slots.push((record.key_id.clone(), slot_of(&record, state)));
            records.insert(record.key_id.clone(), record);
        }
        let mut restored = Self {
            slots: Slots::restore(slots),
            records,
            paths: BTreeMap::new(),
        };
        restored.lay_paths();
        restored
    }

    /// Takes the CAs as another replica stored them, by key id; `None` where it dropped one. What is
    /// noted of leaves stays.
    pub fn take(
        &mut self,
        stored: impl IntoIterator<Item = (String, Option<(CaRecord, SlotState)>)>,
    ) {
        for (key_id, ca) in stored {
            match ca {
                Some((record, state)) => {
                    self.slots.put(&key_id, slot_of(&record, state));
                    self.records.insert(key_id, record);
                }
                None => self.slots.remove(&key_id),
            }
        }
        self.prune();
    }

    /// Keeps the certificate of a CA whose slot was made.
    pub fn keep(&mut self, record: CaRecord) {
        self.records.insert(record.key_id.clone(), record);
        self.lay_paths();
    }

    /// The state of every CA: which may sign.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The state of every CA, to be changed.
    pub fn slots_mut(&mut self) -> &mut Slots {
        &mut self.slots
    }

    /// The certificate of a CA.
    pub fn record(&self, key_id: &str) -> Option<&CaRecord> {
        self.records.get(key_id)
    }

    /// The root that signs.
    pub fn active_root(&self) -> Option<&CaRecord> {
        self.record(self.slots.active_root()?)
    }

    /// The intermediate that signs.
    pub fn active_intermediate(&self) -> Option<&CaRecord> {
        self.record(self.slots.active_intermediate()?)
    }

    /// The issuing CA of an owner that signs.
    pub fn active_issuing(&self, owner: &str) -> Option<&CaRecord> {
        self.record(self.slots.active_issuing(owner)?)
    }

    /// Gives the issuing CAs of one owner to another, as [`Slots::adopt`] says.
    pub fn adopt(&mut self, from: &str, to: &str) {
        self.slots.adopt(from, to);
        for (key_id, slot) in self.slots.iter() {
            if let Some(record) = self.records.get_mut(key_id) {
                record.owner.clone_from(&slot.owner);
            }
        }
    }

    /// The certificates from a CA up to the root, which is left out: what is presented after a
    /// certificate that it issued.
    pub fn path(&self, key_id: &str) -> Option<Path> {
        self.paths.get(key_id).cloned()
    }

    /// Computes the paths again. A path that has not changed stays the same copy, for leaves share it.
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
            if path.len() == MAX_PATH {
                return None;
            }
            path.push(&at.certificate);
            at = self.record(&at.issued_by)?;
        }
        Some(path)
    }

    /// Every CA of a tier with its state, newest first.
    pub fn of_tier(&self, tier: Tier) -> Vec<(&CaRecord, SlotState)> {
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

    /// Forgets what was dropped, as [`Slots::drop_dead`] says.
    pub fn drop_dead(&mut self, owner: &str, now: Timestamp) -> Vec<String> {
        let dropped = self.slots.drop_dead(owner, now);
        self.prune();
        dropped
    }

    /// Forgets the certificate of every slot that is no more.
    pub fn prune(&mut self) {
        let Self { slots, records, .. } = self;
        records.retain(|key_id, _| slots.get(key_id).is_some());
        self.lay_paths();
    }

    /// The CA of a certificate.
    pub fn with_certificate(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Option<(&CaRecord, SlotState)> {
        let mut records = self.records.values();
        let record = records.find(|record| record.certificate == *certificate)?;
        Some((record, self.slots.get(&record.key_id)?.state))
    }

    /// The steps from `before` to `self`, as the issuance log tells them.
    pub fn steps_since(&self, before: &Self) -> Vec<Rotated> {
        let step = |key_id: &str, slot: &Slot, state: &str| Rotated {
            tier: slot.tier.as_str().to_owned(),
            key_id: key_id.to_owned(),
            state: state.to_owned(),
            replica: slot.owner.clone(),
        };
        let present = self.slots.iter().filter_map(|(key_id, slot)| {
            let old = before.slots.get(key_id);
            (!is_same(old, slot)).then(|| step(key_id, slot, slot.state.as_str()))
        });
        let gone = before.slots.iter().filter_map(|(key_id, slot)| {
            let is_gone = self.slots.get(key_id).is_none();
            is_gone.then(|| step(key_id, slot, "dropped"))
        });
        present.chain(gone).collect()
    }

    /// Every CA that came or changed its state since `before`, and the key ids of those that went.
    pub fn changed_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> (Vec<(&'a CaRecord, SlotState)>, Vec<&'a str>) {
        let differs = |key_id: &String, slot: &Slot| !is_same(before.slots.get(key_id), slot);
        let slots = self.slots.iter();
        let changed = slots.filter(|(key_id, slot)| differs(key_id, slot));
        let changed = changed.filter_map(|(key_id, slot)| Some((self.record(key_id)?, slot.state)));
        let before = before.slots.iter().map(|(key_id, _)| key_id.as_str());
        let gone = before.filter(|key_id| self.slots.get(key_id).is_none());
        (changed.collect(), gone.collect())
    }
}

fn slot_of(record: &CaRecord, state: SlotState) -> Slot {
    Slot {
        tier: record.tier,
        state,
        owner: record.owner.clone(),
        issued_by: record.issued_by.clone(),
        not_after: record.not_after,
        live_until: None,
    }
}

/// Whether a slot is what it was, as far as it is stored.
fn is_same(old: Option<&Slot>, slot: &Slot) -> bool {
    old.is_some_and(|old| old.state == slot.state && old.owner == slot.owner)
}
