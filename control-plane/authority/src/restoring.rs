//! Finding everything again at start: what is published, which key is certified for what, and the
//! inventory, all from the issuance log. Nothing is issued anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_attest::nodes::NodeKey;
use countersign_ca::log::{Logged, Said};
use countersign_ca::sign::Signed;
use countersign_model::{EntitlementId, SpiffeId};
use countersign_proto::log::entry::What;
use countersign_proto::log::{Opened, Registered};
use jiff::Timestamp;
use tracing::warn;

use super::issuing::{damaged_entry, is_published};
use super::unfinished::{Unfinished, older_than_log};
use super::{Authority, AuthorityError, PublishedSvid};

impl Authority {
    /// Reads the log: where the inventory was written down, from there and from the oldest valid
    /// certificate on; otherwise from its first retained entry.
    pub(super) async fn restore_logged(
        &self,
        accounted: u64,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        if self.log.size() == 0 {
            let opened = What::Opened(self.opened());
            self.log.note(now, opened).await?;
            return Ok(());
        }
        let own = self.predecessor.map_or(0, |it| it.size);
        let mut unfinished = Unfinished::after(accounted, own);
        let covered = self.load_inventory();
        if covered.accounted > accounted {
            return Err(older_than_log());
        }
        self.accounted.store(accounted, Ordering::Release);
        self.restore_voids(&covered.voids, now);
        let from = covered.settled.min(covered.oldest_live);
        let voided = self.log.voided(from)?;
        let mut accounts = BTreeMap::new();
        let mut unborn = Vec::new();
        for noted in self.log.scan(from) {
            let noted = noted?;
            unfinished.see(&noted, |key_id| self.knows_ca(key_id));
            let index = noted.index();
            match noted.said()? {
                Said::Issued(logged) => {
                    if voided.contains(&index) || unfinished.contains(index) {
                        let issuance = logged.into_issuance();
                        self.restore_void(&issuance, now);
                        unborn.extend(issuance.profile.is_ca().then_some(issuance));
                    } else {
                        self.restore_issued(logged, now)?;
                    }
                }
                Said::Other(what) => match *what {
                    What::Voided(voided) => {
                        accounts.remove(&voided.index);
                    }
                    What::Registered(registered) if index >= covered.settled => {
                        accounts.insert(index, registered);
                    }
                    _ => {}
                },
                Said::Unknown => {}
            }
        }
        // Nothing is destroyed or voided for a state that is not the log's.
        let unfinished = unfinished.judged()?;
        unborn.iter().for_each(|it| self.destroy_unfinished(it));
        accounts.retain(|index, _| !unfinished.contains(index));
        accounts.values().for_each(|it| self.restore_account(it));
        self.void_unfinished(unfinished, now).await;
        self.settled.store(self.log.size(), Ordering::Release);
        Ok(())
    }

    pub(super) fn knows_ca(&self, key_id: &str) -> bool {
        self.cas().authorities.record(key_id).is_some()
    }

    fn opened(&self) -> Opened {
        Opened {
            trust_domain: self.trust_domain().to_string(),
            log_id: self.log.id(),
            epoch: self.epoch,
        }
    }

    fn restore_issued(&self, logged: Logged, now: Timestamp) -> Result<(), AuthorityError> {
        let is_over = logged.issuance().not_after < now;
        if !is_over && !logged.issuance().profile.is_ca() {
            self.note_leaf(logged.issuance());
        }
        if !is_over && is_published(&logged) {
            self.restore_published(logged)
        } else {
            self.restore_listed(logged)
        }
    }

    /// Nothing but the inventory needs it.
    fn restore_listed(&self, logged: Logged) -> Result<(), AuthorityError> {
        match self.log.signed_before(logged)? {
            Ok(signed) => self.inventory().issued(&signed),
            Err(logged) => self.inventory().found(logged.issuance()),
        }
        Ok(())
    }

    fn restore_published(&self, logged: Logged) -> Result<(), AuthorityError> {
        if logged.issuance().node.is_empty() {
            self.restore_manual(logged.issuance())?;
            return self.restore_listed(logged);
        }
        let signed = match self.signed_again(logged) {
            Ok(signed) => signed,
            Err(error) => {
                warn!(%error, "a certificate was lost and cannot be signed again");
                return Ok(());
            }
        };
        self.inventory().issued(&signed);
        // In a backup the log may know of a CA that the copy of the state does not.
        if let Err(error) = self.publish_again(&signed) {
            let serial = signed.issuance().serial;
            warn!(%serial, %error, "a certificate is not published again");
        }
        Ok(())
    }

    /// Its key stays taken; it is seen where somebody still holds the right to it.
    fn publish_again(&self, signed: &Signed) -> Result<(), AuthorityError> {
        let above = self.above(signed)?;
        let issuance = signed.issuance();
        let node = SpiffeId::new(&issuance.node).map_err(|_| damaged_entry())?;
        let entitlement = EntitlementId::parse(&issuance.entitlement).ok_or_else(damaged_entry)?;
        let mut state = self.write();
        state.keys.issued(issuance);
        state.nodes.credited(&node, issuance.not_after);
        if entitlement == EntitlementId::node() {
            state
                .nodes
                .certified(&node, NodeKey::new(issuance.serial, issuance.spki_sha256));
        }
        let holder = state.holder(&node, &entitlement);
        let holder = holder.filter(|(_, since)| *since <= issuance.issued_at);
        // Its right had ended, so it may be void, though the log never took that, or says more than
        // the state of a backup allows: nobody is shown it. Somebody may have it all the same, so it
        // stays in the inventory.
        let is_outdated = state.is_outdated(&node, issuance);
        if state.nodes.is_ended(&node, issuance.serial.index()) {
            let end = issuance.not_after;
            state.published.note_end(&node, &entitlement, end);
        } else if let Some((holder, _)) = holder.filter(|_| !is_outdated) {
            let svid = PublishedSvid::of(signed, above, holder).ok_or_else(damaged_entry)?;
            state.published.offer(Arc::new(svid));
        }
        Ok(())
    }

    fn restore_account(&self, registered: &Registered) {
        match serde_json::from_str(&registered.registration) {
            Ok(registration) => self.inventory().registered(&registration),
            Err(error) => warn!(%error, "a logged registration does not read"),
        }
    }
}
