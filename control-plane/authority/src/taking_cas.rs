//! The CAs as other replicas change them, taken from the commits of those.
//!
//! Root and intermediate are shared, so another replica may have made, activated or dropped one; and
//! each one's issuing CA comes and goes with it. A key is here only where it was made here, or where
//! the key store is one that several replicas share.

use countersign_ca::authorities::CaRecord;
use countersign_ca::bundle;
use countersign_ca::key::{KeyError, StoreKind};
use countersign_fleet::Event;
use countersign_issue::profile::Tier;
use countersign_model::Seq;
use countersign_refusal::Unavailable;
use countersign_store::{Kind, Write};
use jiff::Timestamp;
use tracing::{debug, info};

use super::asking::CA_SIGNER;
use super::ca_set::{CaSet, HeldKey};
use super::rotation::BUNDLE_SEQUENCE;
use super::{Authority, AuthorityError, stored_cas};

impl Authority {
    /// Takes what another replica committed of the CAs, and says which events follow from it. The caller
    /// hands over commits whole and in their order, and none of our own.
    ///
    /// # Errors
    /// It is none that this program writes; nothing of it was taken.
    pub fn take_authorities(
        &self,
        seq: Seq,
        writes: &[Write],
        now: Timestamp,
    ) -> Result<Vec<Event>, AuthorityError> {
        let taken = stored_cas::taken(writes)?;
        let sequence = bundle_sequence(writes)?;
        if !writes.iter().any(is_about_cas) {
            return Ok(Vec::new());
        }
        let mut next = self.hierarchy.read().clone();
        if sequence.is_some() {
            next.written = seq;
        }
        let before = signing(&next);
        next.take(taken, now);
        let unasked = self.take_requests(seq, writes, &mut next)?;
        self.find_keys(&mut next);
        let after = signing(&next);
        let fresh = bundle::of(self.trust_domain(), &next.authorities);
        let fresh = fresh.map_err(Unavailable::damaged)?;
        let present = self.hierarchy.bundle();
        let is_new_bundle = present
            .as_ref()
            .is_none_or(|present| present.0.version() != fresh.version());
        let idle = self.show_cas(next);
        let idle = idle.into_iter().chain(unasked);
        let mut events = Vec::new();
        if is_new_bundle {
            let next = present.map_or(0, |present| present.1) + 1;
            self.hierarchy.show_bundle(fresh, sequence.unwrap_or(next));
            events.push(Event::Bundle);
        }
        if before != after && after.is_some() {
            info!(key_id = after, "issuing CA certified by another replica");
            events.push(Event::Authorities);
        }
        idle.for_each(|held| self.destroy_soon(&held));
        Ok(events)
    }

    /// Finds the keys of CAs that were taken from another replica. Whether a token has one is asked
    /// later: its answer may take long.
    fn find_keys(&self, next: &mut CaSet) {
        let shared = |record: &&CaRecord| {
            let is_asked_later = record.store == Some(StoreKind::Pkcs11);
            record.tier != Tier::Issuing
                && !is_asked_later
                && !next.keys.contains_key(&record.key_id)
        };
        let found: Vec<_> = next
            .signers()
            .filter(shared)
            .filter_map(|record| self.found_key(record))
            .collect();
        for held in found {
            next.keys.insert(held.key.key_id().to_owned(), held);
        }
    }

    /// The key of a CA that replicas share, where it is here.
    fn found_key(&self, record: &CaRecord) -> Option<HeldKey> {
        let (store, spki) = (record.store?, record.spki()?);
        match self.hierarchy.stores().load(store, &record.key_id, &spki) {
            Ok(key) => Some(HeldKey { store, key }),
            Err(KeyError::Gone(_) | KeyError::NotConfigured(_)) => None,
            Err(error) => {
                debug!(key_id = record.key_id, %store, %error, "a shared CA key was not found");
                None
            }
        }
    }

    /// Looks where the keys of root and intermediate are now, which replicas share: one may have been
    /// brought here, or taken away. May wait for a device.
    pub(super) fn look_for_keys(&self, now: Timestamp) {
        if self.settings.replica().is_empty() || !self.hierarchy.looks_for_keys(now) {
            return;
        }
        let shared: Vec<_> = {
            let cas = self.hierarchy.read();
            let signers = cas.signers().filter(|it| it.tier != Tier::Issuing);
            signers.cloned().collect()
        };
        let is_here = |record: &CaRecord| self.hierarchy.read().key(&record.key_id).is_some();
        for record in shared {
            let Some((store, spki)) = record.store.zip(record.spki()) else {
                continue;
            };
            if !self.is_ready(store) {
                continue;
            }
            let holds = self.hierarchy.stores().holds(store, &record.key_id, &spki);
            let found = match holds {
                Ok(true) if is_here(&record) => continue,
                Ok(true) => self.found_key(&record),
                Ok(false) => None,
                // It is known once the store can be asked.
                Err(_) => continue,
            };
            self.hierarchy.update(|cas| match found {
                Some(held) => {
                    let key_id = record.key_id.clone();
                    cas.keys.entry(key_id).or_insert(held);
                }
                None => {
                    cas.keys.remove(&record.key_id);
                }
            });
        }
    }
}

/// Whether a write is about CAs, or who asks for one and who signs it.
fn is_about_cas(write: &Write) -> bool {
    match write.kind {
        Kind::Authority | Kind::CaRequest => true,
        Kind::Meta => write.key == BUNDLE_SEQUENCE || write.key == CA_SIGNER,
        _ => false,
    }
}

/// The key id of the issuing CA that signs here.
fn signing(cas: &CaSet) -> Option<String> {
    cas.issuing().map(|(issuer, _)| issuer.key_id)
}

/// The sequence of the bundle, where a commit sets it.
fn bundle_sequence(writes: &[Write]) -> Result<Option<u64>, AuthorityError> {
    let mut facts = writes.iter().filter(|it| it.kind == Kind::Meta);
    let set = facts.find(|it| it.key == BUNDLE_SEQUENCE);
    Ok(set.map(Write::read).transpose()?.flatten())
}
