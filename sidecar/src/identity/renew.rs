//! Keys that wait for their chain, and the call that has one certified.
//!
//! A key is made for one enrolment of one entitlement and is asked for again, after a failure,
//! until its chain arrives: the control plane answers the same key with the same certificate. It
//! outlives the connection to the control plane and is dropped once it would be due for renewal
//! before it was ever used, was made for another key epoch than the entitlement now names, or was
//! denied. A control plane that has too much to do is left alone for as long as it asks: by every
//! enrolment of this node, not only by the one that it turned away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use countersign_model::{Entitlement, EntitlementId, Lifetime};
use jiff::Timestamp;

use super::clock_skew::ClockSkew;
use super::schedule::{self, Credential, Item, Plan};
use super::{KeyError, Keypair};
use crate::backoff::Backoff;
use crate::holdings::{Held, Snapshot};

/// An enrolment that is not answered in this time has failed.
pub(crate) const ENROL_DEADLINE: Duration = Duration::from_secs(10);
/// A chain that has not arrived this long after its enrolment was answered is asked for again.
pub(crate) const CHAIN_DEADLINE: Duration = Duration::from_secs(10);
/// Keys under way at once, in calls of at most
/// [`MAX_ENROLMENTS`](countersign_proto::MAX_ENROLMENTS). What is due beyond waits for a call to end,
/// [`ENROL_DEADLINE`] at most.
pub(crate) const MAX_CONCURRENT_ENROLMENTS: usize = 256;

/// The key epoch of an entitlement whose keys nobody had replaced.
pub(crate) const FIRST_KEY_EPOCH: u64 = 0;

/// A key and the epoch that it was made in.
#[derive(Clone, Debug)]
pub(crate) struct PendingKey {
    /// The key.
    pub(crate) key: Arc<Keypair>,
    /// The entitlement's `min_key_epoch` when it was made.
    pub(crate) key_epoch: u64,
    /// What the control plane answered, once it has.
    pub(crate) issued: Option<Lifetime>,
}

#[derive(Debug, Default)]
struct Progress {
    pending: Option<PendingKey>,
    backoff: Backoff,
    wait: Option<Wait>,
    /// When the pending key was made.
    made_at: Option<Timestamp>,
    /// That of the key whose chain is installed, where that is known.
    installed_epoch: Option<u64>,
    /// When its chain was installed, in this process.
    installed_at: Option<Timestamp>,
    /// No root of the bundle has issued that chain any more.
    lost_its_root: bool,
}

/// How every enrolment of this node stands.
#[derive(Debug, Default)]
pub(crate) struct Renewals {
    progress: BTreeMap<EntitlementId, Progress>,
    /// Nothing is started before this moment: the control plane asked for patience.
    pushed_back: Option<Wait>,
}

/// Nothing is started for a time.
#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Timestamp,
    until: Timestamp,
}

impl Wait {
    fn from_now(now: Timestamp, length: Duration) -> Option<Self> {
        let until = now.checked_add(length).ok()?;
        Some(Self { since: now, until })
    }

    /// Until when. A clock that was set back since says nothing about when that was, and would make a wait
    /// of seconds one of hours: then it is over.
    fn end(self, now: Timestamp) -> Option<Timestamp> {
        (self.since <= now).then_some(self.until)
    }
}

impl Renewals {
    /// Decides what to enrol now. `ahead` and `demanded` as in [`schedule::plan`].
    pub(crate) fn plan(
        &self,
        snapshot: &Snapshot,
        demanded: &BTreeSet<EntitlementId>,
        ahead: usize,
        now: Timestamp,
    ) -> Plan {
        let items: Vec<_> = snapshot
            .entries
            .values()
            .map(|held| self.item(held, demanded, now))
            .collect();
        schedule::plan(&items, ahead, now)
    }

    /// Starts or repeats an enrolment: the key to have certified.
    ///
    /// # Errors
    /// No key could be made.
    pub(crate) fn start(
        &mut self,
        entitlement: &Entitlement,
        now: Timestamp,
    ) -> Result<PendingKey, KeyError> {
        let progress = self.progress.entry(entitlement.id.clone()).or_default();
        let usable = progress
            .pending
            .take()
            .filter(|pending| pending.is_worth_using(entitlement, now));
        let pending = match usable {
            Some(pending) => pending,
            None => {
                progress.made_at = Some(now);
                PendingKey {
                    key: Arc::new(Keypair::generate()?),
                    key_epoch: entitlement.min_key_epoch,
                    issued: None,
                }
            }
        };
        progress.pending = Some(pending.clone());
        progress.wait = Wait::from_now(now, ENROL_DEADLINE);
        Ok(pending)
    }

    /// The control plane certified the key: its chain is on the way. Says how our clock stands to its,
    /// where the answer tells: the inner `None` where both agree.
    pub(crate) fn answered(
        &mut self,
        id: &EntitlementId,
        issued: Lifetime,
        now: Timestamp,
    ) -> Option<Option<ClockSkew>> {
        let progress = self.progress.get_mut(id)?;
        let pending = progress.pending.as_mut()?;
        pending.issued = Some(issued);
        progress.wait = Wait::from_now(now, CHAIN_DEADLINE);
        let made_at = progress.made_at?;
        Some(ClockSkew::of(made_at, issued.issued_at, now))
    }

    /// An enrolment or installation failed: it is tried again later. `draw` is in `0.0..=1.0`.
    pub(crate) fn failed(&mut self, id: &EntitlementId, now: Timestamp, draw: f64) {
        let progress = self.progress.entry(id.clone()).or_default();
        let wait = progress.backoff.fail(draw);
        progress.wait = Wait::from_now(now, wait);
    }

    /// The control plane denied the key: the next try, later, is with a fresh one. What is wrong
    /// may be the key itself, and then the same one would be denied for ever.
    pub(crate) fn denied(&mut self, id: &EntitlementId, now: Timestamp, draw: f64) {
        self.failed(id, now, draw);
        if let Some(progress) = self.progress.get_mut(id) {
            progress.pending = None;
        }
    }

    /// The control plane turned an enrolment away for now, and said for how long.
    pub(crate) fn pushed_back(
        &mut self,
        id: &EntitlementId,
        asked: Duration,
        now: Timestamp,
        draw: f64,
    ) {
        let progress = self.progress.entry(id.clone()).or_default();
        let wait = progress.backoff.pushed_back(asked, draw);
        progress.wait = Wait::from_now(now, wait);
        let longest = self.pushed_back.and_then(|wait| wait.end(now));
        let asked = Wait::from_now(now, asked);
        if asked.is_some_and(|asked| longest.is_none_or(|longest| longest < asked.until)) {
            self.pushed_back = asked;
        }
    }

    /// The key that waits for a chain of this entitlement.
    pub(crate) fn pending(&self, id: &EntitlementId) -> Option<&PendingKey> {
        self.progress.get(id)?.pending.as_ref()
    }

    /// The chain of the pending key is installed.
    pub(crate) fn installed(&mut self, id: &EntitlementId, key_epoch: u64, now: Timestamp) {
        self.restored(id, key_epoch);
        if let Some(progress) = self.progress.get_mut(id) {
            progress.installed_at = Some(now);
        }
    }

    /// A chain was restored from the state directory, with the epoch of its key.
    pub(crate) fn restored(&mut self, id: &EntitlementId, key_epoch: u64) {
        let progress = Progress {
            installed_epoch: Some(key_epoch),
            ..Progress::default()
        };
        self.progress.insert(id.clone(), progress);
    }

    /// No root of the bundle has issued what is held any more: it is due until another is installed.
    pub(crate) fn lost_its_root(&mut self, id: &EntitlementId) {
        let progress = self.progress.entry(id.clone()).or_default();
        progress.lost_its_root = true;
    }

    /// The right was removed: its key is dropped.
    pub(crate) fn forget(&mut self, id: &EntitlementId) {
        self.progress.remove(id);
    }

    /// A new connection: what was under way on the old one is asked for again at once.
    pub(crate) fn reconnected(&mut self) {
        for progress in self.progress.values_mut() {
            progress.wait = None;
        }
    }

    fn item<'a>(
        &self,
        held: &'a Held,
        demanded: &BTreeSet<EntitlementId>,
        now: Timestamp,
    ) -> Item<'a> {
        let end = |wait: Option<Wait>| wait.and_then(|wait| wait.end(now));
        let progress = self.progress.get(&held.entitlement.id);
        let installed_epoch = progress.and_then(|p| p.installed_epoch);
        Item {
            entitlement: &held.entitlement,
            held: held.svid.as_ref().map(|svid| Credential {
                serial: svid.serial,
                lifetime: svid.lifetime,
                key_epoch: installed_epoch.unwrap_or(FIRST_KEY_EPOCH),
                installed_at: progress.and_then(|p| p.installed_at),
                lost_its_root: progress.is_some_and(|p| p.lost_its_root),
            }),
            demanded: demanded.contains(&held.entitlement.id),
            not_before: end(progress.and_then(|p| p.wait)).max(end(self.pushed_back)),
        }
    }
}

impl PendingKey {
    fn is_worth_using(&self, entitlement: &Entitlement, now: Timestamp) -> bool {
        let fresh = self
            .issued
            .is_none_or(|life| now < entitlement.renew.moment(&life, 0.0));
        self.key_epoch == entitlement.min_key_epoch && fresh
    }
}

#[cfg(test)]
mod tests;
