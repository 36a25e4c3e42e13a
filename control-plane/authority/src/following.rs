//! What the other control planes of the database commit, taken in the order of commits: the state that
//! they change, the CAs, and the certificates that they log.
//!
//! The entry of a certificate tells which key is certified for whom, and that is known from then on. It is
//! shown, like one of our own, once its signature comes: the control plane that made it brings that when
//! it gave the certificate out. A node that goes from one control plane to another so finds what it has.

use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_ca::log::{Logged, Noted, Said};
use countersign_ca::sign::Signed;
use countersign_fleet::Event;
use countersign_inventory::TakenEntry;
use countersign_issue::issuance::Issuance;
use countersign_model::{Coordinate, EntitlementId, Seq, SpiffeId};
use countersign_proto::log::entry::What;
use countersign_refusal::Unavailable;
use countersign_store::{Committed, Kind, LogEntry, LogSignature, StoreError, Write};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::issuing::damaged_entry;
use super::record::ACTS;
use super::state::Change;
use super::{Authority, AuthorityError};

/// How long a caller waits for what it has seen elsewhere.
const REACH_WITHIN: Duration = Duration::from_secs(2);

/// Whether a commit that somebody has seen was taken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It was.
    Here,
    /// It is in the database, or that is away: another control plane knows more.
    NotYet,
    /// No control plane has made it.
    Nowhere,
}

impl Authority {
    /// Takes what the others commit from here on, after the commit that the state is of.
    pub(super) async fn follow(&self, from: Seq) {
        let this = self.this.clone();
        let take = move |commit: Committed| {
            if let Some(this) = this.upgrade() {
                let seq = commit.seq;
                let taken = this.take_commit(commit);
                // A state that lacks a commit must not go on: the store stops where this panics.
                taken.unwrap_or_else(|error| {
                    panic!("commit {} of another control plane: {error}", seq.0)
                });
            }
        };
        self.store.hand_over(from, take).await;
    }

    /// Takes a commit of another control plane.
    fn take_commit(&self, commit: Committed) -> Result<(), AuthorityError> {
        let Committed {
            seq,
            writes,
            entries,
            signatures,
        } = commit;
        let mut events = self.take_authorities(seq, &writes, self.told_now())?;
        let newest = entries.last().map(|it| taken(seq, it)).transpose()?;
        for entry in entries {
            self.take_entry(seq, &entry)?;
            let writer = self.state.read().replicas.of_log(entry.log_id);
            self.hear(writer.as_deref());
        }
        newest.into_iter().for_each(|it| self.ledger.took(it));
        for signature in signatures {
            events.extend(self.take_signature(signature)?);
        }
        let changes = writes.iter().map(read_change);
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
        changes
            .iter()
            .flatten()
            .for_each(|change| self.look_for_two_holders(change));
        let mut heard = Vec::new();
        for change in changes.iter().flatten() {
            // Of one that was fenced out another one says so.
            if let Change::Heartbeat(writer, Some(said)) = change
                && said.fenced_at.is_none()
            {
                self.hear(Some(writer));
                heard.push(writer.clone());
            }
        }
        if writes.iter().any(is_act) {
            self.state.write().acts = Some(seq);
        }
        self.take(seq, changes.into_iter().flatten().collect(), |_| ());
        let (moment, mut state) = (Instant::now(), self.state.write());
        heard
            .iter()
            .for_each(|name| state.replicas.heard_heartbeat(name, moment));
        drop(state);
        self.state.announce(seq, events);
        Ok(())
    }

    /// Takes an entry of the log of another control plane.
    pub(super) fn take_entry(&self, seq: Seq, entry: &LogEntry) -> Result<(), AuthorityError> {
        let Some(noted) = read(entry)? else {
            return Ok(());
        };
        match noted.placed(seq.0).said()? {
            Said::Issued(logged) => self.take_issued(logged),
            Said::Other(what) => {
                if let What::Voided(voided) = *what {
                    let void = Coordinate::new(entry.log_id, voided.index);
                    let void = void.map_err(|_| damaged_entry())?;
                    self.take_void(void)?;
                }
                Ok(())
            }
            Said::Unknown => Ok(()),
        }
    }

    /// A certificate that another control plane logged: its key is taken, and of a node's own identity
    /// it is one by which the node is recognised. One that has ended is listed and nothing more.
    fn take_issued(&self, logged: Logged) -> Result<(), AuthorityError> {
        let issuance = logged.issuance();
        if issuance.not_after < self.told_now() {
            self.ledger.found(issuance);
            return Ok(());
        }
        let entitlement = EntitlementId::parse(&issuance.entitlement);
        if let Some(entitlement) = entitlement {
            self.note_leaf(issuance);
            let mut state = self.state.write();
            let is_holders = state.keys.found(issuance);
            match node_of(issuance)? {
                Some(node) if is_holders => state.logged(&node, &entitlement, issuance),
                None if is_holders => state.manual.note(&entitlement, issuance),
                _ => {}
            }
        }
        self.state.write().unsigned.keep(logged);
        Ok(())
    }

    /// A certificate that another control plane logged was given to nobody.
    fn take_void(&self, entry: Coordinate) -> Result<(), AuthorityError> {
        let mut state = self.state.write();
        if let Some(logged) = state.unsigned.take(entry)
            && let Some(node) = node_of(logged.issuance())?
        {
            state.nodes.voided(&node, &logged.issuance().serial);
        }
        Ok(())
    }

    /// The signature of a certificate came: it was given out, and is shown here as well.
    pub(super) fn take_signature(
        &self,
        signature: LogSignature,
    ) -> Result<Option<Event>, AuthorityError> {
        let entry = Coordinate::new(signature.log_id, signature.index);
        let entry = entry.map_err(|_| damaged_entry())?;
        let Some(logged) = self.state.write().unsigned.take(entry) else {
            return Ok(None);
        };
        let signed = Signed::from_kept(logged, signature.bytes);
        self.ledger.issued(&signed);
        let (issuance, now) = (signed.issuance(), self.told_now());
        let Some(node) = node_of(issuance)?.filter(|_| issuance.not_after >= now) else {
            return Ok(None);
        };
        let entitlement = EntitlementId::parse(&issuance.entitlement).ok_or_else(damaged_entry)?;
        if let Err(error) = self.publish_again(&signed) {
            let (others, serial) = (Principal::part("other control planes"), issuance.serial);
            peer_line!(WARN, others, %serial, %error, "a certificate of another control plane is not published here");
        }
        Ok(Some(Event::Svid(node, entitlement)))
    }

    /// Reads the logs of the others from a commit on, up to another, and says at which commit each entry of our own log
    /// is: its bytes are on this disk.
    pub(super) async fn restore_others(
        &self,
        (begin, until): (Seq, Seq),
        mut own: impl FnMut(u64, Seq) -> Result<(), AuthorityError>,
    ) -> Result<(), AuthorityError> {
        let log_id = self.ledger.log().id();
        let mut after = (begin, 0, 0);
        loop {
            let page = self.store.log_page(after).await?;
            let Some((seq, last, _)) = page.last() else {
                return Ok(());
            };
            after = (*seq, last.log_id, last.index);
            for (seq, entry, signature) in page {
                if seq > until {
                    return Ok(());
                }
                if entry.log_id == log_id {
                    own(entry.index, seq)?;
                    continue;
                }
                self.take_entry(seq, &entry)?;
                self.ledger.took(taken(seq, &entry)?);
                if let Some(bytes) = signature {
                    self.take_signature(LogSignature {
                        log_id: entry.log_id,
                        index: entry.index,
                        bytes,
                    })?;
                }
            }
        }
    }

    /// Waits, not for long, until this control plane has taken the commit that somebody has seen: what it
    /// says is never older than that.
    pub async fn reach(&self, sequence: u64) -> Reached {
        if self.state.sequence() >= sequence {
            return Reached::Here;
        }
        let Some(newest) = self.store.follow() else {
            return Reached::Nowhere;
        };
        let mut seen = self.store.seen();
        let reached = timeout(REACH_WITHIN, seen.wait_for(|seen| seen.0 >= sequence)).await;
        if matches!(reached, Ok(Ok(_))) {
            return Reached::Here;
        }
        let is_known = newest.borrow().0 >= sequence || self.store.deaf().is_refusing();
        match is_known {
            true => Reached::NotYet,
            false => Reached::Nowhere,
        }
    }

    /// The newest time that this control plane was told.
    pub(super) fn told_now(&self) -> Timestamp {
        let nanoseconds = self.told_now.load(Ordering::Acquire);
        Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Notes the time for what happens unasked.
    pub(super) fn tell_now(&self, now: Timestamp) {
        let nanoseconds = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
        self.told_now.store(nanoseconds, Ordering::Release);
    }
}

/// What the file of the inventory says of an entry.
fn taken(seq: Seq, entry: &LogEntry) -> Result<TakenEntry, AuthorityError> {
    let at = Coordinate::new(entry.log_id, entry.index).map_err(|_| damaged_entry())?;
    Ok(TakenEntry::new(seq, at, &entry.bytes))
}

/// An entry of another log; `None` where it belongs to the log that the other one goes on from, of
/// before a restore.
pub(super) fn read(entry: &LogEntry) -> Result<Option<Noted>, AuthorityError> {
    let at = Coordinate::new(entry.log_id, entry.index).map_err(|_| damaged_entry())?;
    match Noted::read(at, &entry.bytes) {
        Ok(noted) => Ok(Some(noted)),
        Err(countersign_tlog::LogError::Foreign(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The change that a write is. What nothing is decided by may be of a newer version, and is left out then.
pub(super) fn read_change(write: &Write) -> Result<Option<Change>, StoreError> {
    match (write.kind, Change::read(write)) {
        (Kind::Heartbeat | Kind::Acknowledged | Kind::Stream, Err(_)) => Ok(None),
        (_, read) => read,
    }
}

fn is_act(write: &Write) -> bool {
    write.kind == Kind::Meta && write.key == ACTS
}

/// The node that holds the key of a certificate.
fn node_of(issuance: &Issuance) -> Result<Option<SpiffeId>, AuthorityError> {
    if issuance.node.is_empty() {
        return Ok(None);
    }
    let node = SpiffeId::new(&issuance.node);
    Ok(Some(node.map_err(|_| {
        Unavailable::damaged("an entry of another log is damaged")
    })?))
}
