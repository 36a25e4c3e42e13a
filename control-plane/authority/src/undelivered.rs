//! Undelivered certificates: the log holds them, and nobody will be given them.
//!
//! The right to a certificate may end between its entry in the log and its publication, and a CA
//! key may fail to sign it. Such a certificate is void: in memory at once, and in the log by a
//! `voided` entry, written now or as soon as the log takes one again. The key of a void certificate
//! stays with the identity that it was claimed for, so that no two entries of the log ever name two
//! identities for one key: the same identity may have it certified again at once, another one only
//! when the void certificate would have ended.

use countersign_inventory::Void;
use countersign_issue::issuance::Issuance;
use countersign_issue::key::key_id_of;
use countersign_model::{Coordinate, EntitlementId};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;

use super::Authority;
use super::key_uses::KeyUse;
pub(super) use super::key_uses::Undelivered;

impl Authority {
    /// Voids a certificate that nobody will be given: in memory at once, and in the log by an entry.
    pub(super) async fn void_undelivered(&self, undelivered: Undelivered, now: Timestamp) {
        self.give_up(&undelivered);
        self.void_waiting(now).await;
    }

    /// Voids a certificate in memory, and has its `voided` entry written by the next call of
    /// [`void_pending`](Self::void_pending).
    pub(super) fn give_up(&self, undelivered: &Undelivered) {
        let index = undelivered.entry().index();
        // First, so that an inventory that is written down meanwhile does not cover this entry.
        self.ledger.must_void(index);
        self.state.write().keys.undelivered(undelivered);
        let principal = Principal::part("undelivered certificates");
        peer_line!(
            INFO,
            principal,
            index,
            "a certificate that nobody was given is void"
        );
    }

    /// Writes the `voided` entries that wait. Those that the log does not take now are written
    /// before the next change, with the next tick or at the end.
    pub(super) async fn void_waiting(&self, now: Timestamp) {
        self.ledger.void(&[], now).await;
    }

    /// Whether the certificate of an entry is void, as far as is remembered.
    pub(super) fn is_void(&self, entry: Coordinate) -> bool {
        self.state.read().keys.is_void(entry)
    }

    /// A void certificate was found in the log.
    pub(super) fn restore_void(&self, issuance: &Issuance, now: Timestamp) {
        if issuance.not_after >= now {
            let undelivered = Undelivered::of(issuance);
            // Nobody claims the key of a CA or of the listener.
            let is_claimed = EntitlementId::parse(&issuance.entitlement).is_some();
            let used = is_claimed.then(|| KeyUse::of(issuance));
            self.state.write().keys.found_void(&undelivered, used);
        }
    }

    /// Void certificates of CAs, from the file of the inventory: the log is not read from so far
    /// back. Void certificates whose keys were claimed are found in the log itself.
    pub(super) fn restore_voids(&self, voids: &[Void], now: Timestamp) {
        let mut state = self.state.write();
        let live = voids.iter().filter(|void| void.not_after >= now);
        live.for_each(|void| state.keys.found_void(&Undelivered::found(void), None));
    }

    /// Destroys the key of a CA certificate that is void, or that a crash kept from being committed.
    /// The key may lie in any store, and nothing else will ever name it. A key that is not there
    /// was destroyed before.
    pub(super) fn destroy_unfinished(&self, issuance: &Issuance) {
        let key_id = key_id_of(&issuance.spki_sha256);
        let (own, owner) = (self.settings.replica(), &issuance.account.owner);
        // A token may be shared, and hold the key of another replica that asks again.
        let is_of_another = !own.is_empty() && !owner.is_empty() && owner != own;
        if self.knows_ca(&key_id) || is_of_another {
            return;
        }
        for (store, _) in self.hierarchy.stores().conditions() {
            self.destroy_when_ready(store, &key_id, Some(issuance.serial.index()));
        }
    }
}
