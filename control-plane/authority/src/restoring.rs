//! Reading the issuance log at a start: published certificates, the uses of keys and the inventory
//! are found in it again. Nothing is issued anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_ca::log::{Logged, Noted, Said};
use countersign_ca::sign::Signed;
use countersign_inventory::OtherLogs;
use countersign_issue::issuance::Issuance;
use countersign_model::{EntitlementId, Seq, SpiffeId};
use countersign_proto::log::entry::What;
use countersign_proto::log::{Opened, Registered};
use countersign_refusal::{Denied, Unavailable};
use jiff::Timestamp;
use tracing::warn;

use super::issuing::{damaged_entry, is_published};
use super::state::Age;
use super::unfinished::{Unfinished, older_than_log};
use super::{Authority, AuthorityError, PublishedSvid};

/// One reading of the log: what is acted upon when all of it was seen.
struct Reading {
    /// The inventory covers the entries below.
    settled: u64,
    /// Indexes that a later entry voids.
    voided: BTreeSet<u64>,
    /// Changes that no commit accounts for.
    unfinished: Unfinished,
    /// Registrations that the inventory does not cover, by index.
    accounts: BTreeMap<u64, Registered>,
    /// Void certificates of CAs, whose keys are destroyed.
    void_cas: Vec<Issuance>,
}

/// The entries that the state accounts for were given places which a log without them would give again.
fn log_older_than_state(size: u64, accounted: u64) -> AuthorityError {
    AuthorityError::Denied(Denied {
        code: "log_older_than_state",
        message: format!(
            "the issuance log in data_dir has {size} entries, and the state accounts for {accounted}: \
             data_dir was put back from a copy, or is another"
        ),
        remedy: "start with the data_dir that the state belongs to, or from a backup with \
                 `countersign restore`",
    })
}

impl Authority {
    /// Reads the log. Where there is a file of the inventory, from the end of what it covers and
    /// from the oldest valid certificate on; otherwise from the first entry that is kept.
    pub(super) async fn restore_logged(
        &self,
        accounted: u64,
        until: Seq,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let size = self.ledger.log().size();
        if accounted > size {
            return Err(log_older_than_state(size, accounted));
        }
        if size == 0 {
            let opened = What::Opened(self.opened());
            self.ledger.log().note(now, opened).await?;
            return self.restore_others((Seq(0), until), |_, _| Ok(())).await;
        }
        let own = self.predecessor.map_or(0, |(it, _)| it.size);
        let covered = self.load_inventory(until).await?;
        if covered.accounted > accounted {
            return Err(older_than_log());
        }
        self.ledger.account_for(accounted);
        self.restore_voids(&covered.voids, now);
        let from = covered.settled.min(covered.oldest_live);
        let mut reading = Reading {
            settled: covered.settled,
            voided: self.ledger.log().voided(from)?,
            unfinished: Unfinished::after(accounted, own),
            accounts: BTreeMap::new(),
            void_cas: Vec::new(),
        };
        if self.store.keeps_log() {
            let begin = self.first_to_read(from, &covered.others, until).await?;
            let shared = self.restore_shared(&mut reading, (from, begin), until, now);
            shared.await?;
        } else {
            for noted in self.ledger.log().scan(from) {
                self.restore_entry(noted?, &mut reading, now)?;
            }
        }
        self.end_reading(reading, now).await?;
        self.ledger.settle(self.ledger.log().size());
        Ok(())
    }

    /// The first commit of this state that must be read: of an entry of our log from `from` on, of one of
    /// another log that the inventory does not tell of, or that certifies a key which may still be in use.
    async fn first_to_read(
        &self,
        from: u64,
        others: &OtherLogs,
        until: Seq,
    ) -> Result<Seq, AuthorityError> {
        let own = (self.ledger.log().id(), from);
        let live = others.oldest_live.iter().map(|(id, index)| (*id, *index));
        let mut first_of: Vec<_> = live.chain([own]).collect();
        let mut first = match others.newest {
            Some(newest) => Seq(newest.seq.0 + 1),
            // None of them is known, so each is read from its beginning.
            None => {
                let state = self.state.read();
                first_of.extend(state.replicas.logs(own.0).map(|(_, log_id, _)| (log_id, 0)));
                Seq(until.0 + 1)
            }
        };
        for (log_id, index) in first_of {
            if let Some((seq, ..)) = self.store.log_entry(log_id, index).await? {
                first = first.min(seq);
            }
        }
        Ok(first)
    }

    /// Reads our log from an index on, and those of the other control planes from a commit on, in the order
    /// of commits.
    async fn restore_shared(
        &self,
        reading: &mut Reading,
        (from, begin): (u64, Seq),
        until: Seq,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let mut own = self.ledger.log().scan(from).peekable();
        self.restore_others((begin, until), |index, seq| {
            if index < from {
                return Ok(());
            }
            // Bodies that were pruned here are in the database alone.
            let is_it =
                |noted: &Result<Noted, _>| noted.as_ref().is_ok_and(|it| it.index() <= index);
            if let Some(noted) = own.next_if(is_it) {
                self.restore_entry(noted?.placed(seq.0), reading, now)?;
            }
            Ok(())
        })
        .await?;
        // What was logged since the state was read.
        for noted in own {
            self.restore_entry(noted?.placed(until.0 + 1), reading, now)?;
        }
        Ok(())
    }

    /// Takes in the next entry of the log.
    fn restore_entry(
        &self,
        noted: Noted,
        reading: &mut Reading,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let index = noted.index();
        let knows_ca = |key_id: &str| self.knows_ca(key_id);
        reading.unfinished.see(&noted, knows_ca);
        match noted.said()? {
            Said::Issued(logged) => {
                if !reading.voided.contains(&index) && !reading.unfinished.contains(index) {
                    return self.restore_issued(logged, now);
                }
                let issuance = logged.into_issuance();
                self.restore_void(&issuance, now);
                let is_ca = issuance.profile.is_ca();
                reading.void_cas.extend(is_ca.then_some(*issuance));
            }
            Said::Other(what) => match *what {
                What::Voided(voided) => {
                    reading.accounts.remove(&voided.index);
                }
                What::Registered(registered) if index >= reading.settled => {
                    reading.accounts.insert(index, registered);
                }
                _ => {}
            },
            Said::Unknown => {}
        }
        Ok(())
    }

    /// Acts upon what was read. Nothing is destroyed or voided where the state is not the log's.
    async fn end_reading(&self, reading: Reading, now: Timestamp) -> Result<(), AuthorityError> {
        let unfinished = reading.unfinished.judged()?;
        for void in &reading.void_cas {
            self.destroy_unfinished(void);
        }
        let accounts = reading.accounts.iter();
        let finished = accounts.filter(|(index, _)| !unfinished.contains(index));
        finished.for_each(|(_, registered)| self.restore_account(registered));
        self.void_unfinished(unfinished, now).await;
        Ok(())
    }

    pub(super) fn knows_ca(&self, key_id: &str) -> bool {
        self.hierarchy.read().authorities.record(key_id).is_some()
    }

    fn opened(&self) -> Opened {
        Opened {
            trust_domain: self.trust_domain().to_string(),
            log_id: self.ledger.log().id(),
            epoch: self.epoch,
        }
    }

    /// Takes in a certificate that is not void.
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

    /// Takes a certificate into the inventory alone.
    fn restore_listed(&self, logged: Logged) -> Result<(), AuthorityError> {
        match self.ledger.log().signed_before(logged)? {
            Ok(signed) => self.ledger.issued(&signed),
            Err(logged) => self.ledger.found(logged.issuance()),
        }
        Ok(())
    }

    /// Takes in a certificate that a node or an operator was given, and that has not ended.
    fn restore_published(&self, logged: Logged) -> Result<(), AuthorityError> {
        if logged.issuance().node.is_empty() {
            self.restore_manual(logged.issuance())?;
            return self.restore_listed(logged);
        }
        let issuance = logged.issuance().clone();
        let signed = match self.signed_if_allowed(logged) {
            Ok(signed) => signed,
            Err(error) => {
                let serial = issuance.serial;
                warn!(%serial, %error, "a certificate was lost and cannot be signed again");
                return self.restore_unsigned(&issuance);
            }
        };
        self.ledger.issued(&signed);
        // In a backup the log may know of a CA that the copy of the state does not.
        if let Err(error) = self.publish_again(&signed) {
            let serial = signed.issuance().serial;
            warn!(%serial, %error, "a certificate is not published again");
        }
        Ok(())
    }

    /// The certificate of an entry. Where the right to it ended or changed since, its signature is not made
    /// again: that may have been so before there was one.
    fn signed_if_allowed(&self, logged: Logged) -> Result<Signed, AuthorityError> {
        let (node, entitlement) = named(logged.issuance())?;
        let may_be_signed = { self.state.read() }.may_be_signed(
            &node,
            &entitlement,
            logged.issuance(),
            self.told_now(),
        );
        if may_be_signed {
            return self.signed_again(logged);
        }
        let signed = self.ledger.log().signed_before(logged)?;
        let unsigned = "it is not signed, and the right to it ended or changed since";
        Ok(signed.map_err(|_| Unavailable::retry(unsigned))?)
    }

    /// Takes in a certificate that nobody can be given again, for the power went before its signature
    /// was on the disk, and the key of its CA is gone. Its holder may have it all the same: a node that
    /// shows it is recognised.
    fn restore_unsigned(&self, issuance: &Issuance) -> Result<(), AuthorityError> {
        self.ledger.found(issuance);
        let (node, entitlement) = named(issuance)?;
        let mut state = self.state.write();
        state.keys.found(issuance);
        state.certified(&node, &entitlement, issuance);
        Ok(())
    }

    /// Publishes a certificate where the right to it still stands. Its key stays taken in any case.
    pub(super) fn publish_again(&self, signed: &Signed) -> Result<(), AuthorityError> {
        let above = self.above(signed)?;
        let issuance = signed.issuance();
        let (node, entitlement) = named(issuance)?;
        let mut state = self.state.write();
        if !state.keys.found(issuance) {
            // It is another's: whoever logged this one has voided it, or will.
            return Ok(());
        }
        state.certified(&node, &entitlement, issuance);
        let holder = state.holder(&node, &entitlement);
        let age = state.age(&node, issuance);
        let holder = holder.filter(|_| state.is_of_registration(&node, issuance));
        // What says more than the state of a backup allows is shown to nobody. Somebody may have it all
        // the same, so it stays in the inventory.
        let is_taken_back = age == Age::TakenBack;
        let lineage = state.lineage(&node, issuance);
        if state.nodes.is_ended(&node, lineage) {
            let end = issuance.not_after;
            state.published.note_end(&node, &entitlement, end);
        } else if let Some(holder) = holder.filter(|_| !is_taken_back) {
            let svid = PublishedSvid::of(signed, above, holder).ok_or_else(damaged_entry)?;
            state.published.offer(Arc::new(svid));
        }
        Ok(())
    }

    /// Takes the owner and the labels of a registration into the inventory.
    fn restore_account(&self, registered: &Registered) {
        match serde_json::from_str(&registered.registration) {
            Ok(registration) => self.ledger.registered(&registration),
            Err(error) => warn!(%error, "a logged registration does not read"),
        }
    }
}

/// The node that holds the key of a certificate, and under which entitlement.
fn named(issuance: &Issuance) -> Result<(SpiffeId, EntitlementId), AuthorityError> {
    let node = SpiffeId::new(&issuance.node).map_err(|_| damaged_entry())?;
    let entitlement = EntitlementId::parse(&issuance.entitlement).ok_or_else(damaged_entry)?;
    Ok((node, entitlement))
}
