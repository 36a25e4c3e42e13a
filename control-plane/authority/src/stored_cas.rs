//! CA certificates as they are stored.

use countersign_ca::authorities::{Authorities, CaRecord};
use countersign_ca::key::StoreKind;
use countersign_ca::slots::SlotState;
use countersign_issue::profile::Tier;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use countersign_refusal::Unavailable;
use countersign_store::{Entry, Kind, Write};

use super::AuthorityError;

/// A CA certificate and its slot, as JSON in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredCa {
    tier: Tier,
    state: SlotState,
    /// Absent where there are no replicas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
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

impl StoredCa {
    fn new(record: &CaRecord, state: SlotState) -> Self {
        Self {
            tier: record.tier,
            state,
            owner: record.owner.clone(),
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

    /// The CA with this key; `None` where it is damaged.
    fn read(self, key_id: String) -> Option<(CaRecord, SlotState)> {
        let record = CaRecord {
            tier: self.tier,
            owner: self.owner,
            store: self.store,
            key_identifier: self.key_identifier.unwrap_or_else(|| key_id.clone()),
            serial: self.serial,
            issued_by: self.issued_by,
            issued_at: self.issued_at,
            not_before: self.not_before,
            not_after: self.not_after,
            certificate: hex::decode(self.certificate).ok()?.into(),
            key_id,
        };
        Some((record, self.state))
    }
}

/// The CAs that are stored.
pub(super) fn read(entries: &[Entry]) -> Result<Authorities, AuthorityError> {
    let mut stored = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Authority) {
        let ca = entry.read::<StoredCa>()?.read(entry.key.clone());
        stored.push(ca.ok_or_else(damaged_ca)?);
    }
    Ok(Authorities::restore(stored))
}

/// A CA as a commit has it, by key id; `None` where it is dropped.
pub(super) type TakenCa = (String, Option<(CaRecord, SlotState)>);

/// What a commit says of CAs.
pub(super) fn taken(writes: &[Write]) -> Result<Vec<TakenCa>, AuthorityError> {
    let of_cas = writes.iter().filter(|it| it.kind == Kind::Authority);
    let taken = of_cas.map(|write| {
        let stored = write.read::<StoredCa>()?;
        let read = stored.map(|it| it.read(write.key.clone()).ok_or_else(damaged_ca));
        Ok((write.key.clone(), read.transpose()?))
    });
    taken.collect()
}

pub(super) fn damaged_ca() -> AuthorityError {
    Unavailable::damaged("a stored CA is damaged").into()
}

/// What must be written to come from `before` to `after`.
pub(super) fn changes(before: &Authorities, after: &Authorities) -> Vec<Write> {
    let (changed, gone) = after.changed_since(before);
    let put = |(record, state): (&CaRecord, SlotState)| {
        let stored = StoredCa::new(record, state);
        Write::put(Kind::Authority, record.key_id.clone(), &stored)
    };
    let remove = |key_id: &str| Write::remove(Kind::Authority, key_id.to_owned());
    let put = changed.into_iter().map(put);
    put.chain(gone.into_iter().map(remove)).collect()
}

/// Before a store was noted, every key was on disk.
#[allow(clippy::unnecessary_wraps, reason = "the type of the field")]
fn on_disk() -> Option<StoreKind> {
    Some(StoreKind::Disk)
}

#[cfg(test)]
mod tests;
