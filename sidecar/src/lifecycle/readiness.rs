//! Whether the sidecar can do what it is there for, and what it lacks: for `/readyz` and `status`.
//!
//! What is held decides, not the connection: who loses the control plane goes on with good
//! credentials and stays ready. Who lets one expire that a listener presents, or that a
//! registration grants, is not ready, whatever the connection does.
//!
//! `status` names everything. Any process of the machine may ask the probe, so that counts, and
//! names only what a setting lets metrics name.

mod reasons;

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_cli::distance::to_the_second;
use countersign_model::{EntitlementId, SpiffeId};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::control::link_state::LinkState;
use crate::holdings::{Held, Holdings, Snapshot, Svid};
use crate::proxy::identity::Identities;
use crate::telemetry::Counted;
pub(crate) use reasons::Reasons;
use reasons::{Reason, ReasonKind};

/// What readiness depends on.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    /// What is held.
    pub(crate) holdings: Arc<Holdings>,
    /// The identities of our own listeners.
    pub(crate) identities: Arc<Identities>,
    /// The connection to the control plane.
    pub(crate) link: watch::Receiver<LinkState>,
    /// The listeners that count their connections.
    pub(crate) listeners: Arc<[Counted]>,
}

impl Readiness {
    /// What is missing at `now`; nothing when ready.
    pub(crate) fn missing(&self, now: Timestamp) -> Reasons {
        let snapshot = self.holdings.load();
        let view = View {
            snapshot: &snapshot,
            presented: self.identities.ids().collect(),
            not_installed: self.identities.missing().into_iter().collect(),
            link: &self.link.borrow(),
        };
        view.missing(now)
    }

    /// What is not as it should be though the sidecar is ready.
    pub(crate) fn degraded(&self) -> Reasons {
        let unsaved = self.holdings.load().unsaved.clone();
        let unsaved = unsaved.map(|why| {
            let text = format!("what must survive a restart is held in memory alone: {why}");
            Reason::new(ReasonKind::Unsaved, text)
        });
        let link = self.link.borrow();
        let older = link.problem.clone().filter(|_| link.is_older);
        let older = older.map(|why| Reason::new(ReasonKind::Older, why));
        let clocks = link.clock_skew.map(|skew| skew.to_string());
        let clocks = clocks.map(|told| Reason::new(ReasonKind::Clocks, told));
        let full = crowded(&self.listeners);
        let told = unsaved.into_iter().chain(older).chain(clocks);
        told.chain(full).collect()
    }
}

/// Everything that readiness is decided by, at one moment.
struct View<'a> {
    snapshot: &'a Snapshot,
    /// The identities that listeners present.
    presented: Vec<&'a SpiffeId>,
    /// Those of them that no handshake can present yet.
    not_installed: BTreeSet<&'a SpiffeId>,
    link: &'a LinkState,
}

impl View<'_> {
    /// What everything depends on comes first: of many reasons the last ones are only counted.
    fn missing(&self, now: Timestamp) -> Reasons {
        let mut missing = Vec::new();
        if self.snapshot.bundle.is_none() {
            missing.push(Reason::new(
                ReasonKind::NoBundle,
                "no trust bundle is installed",
            ));
        }
        let mut credentials: Vec<_> = self.node(now).into_iter().collect();
        credentials.extend(self.listeners(now));
        credentials.extend(self.registrations(now));
        let is_lacking = !missing.is_empty() || !credentials.is_empty();
        missing.extend(self.connection(is_lacking));
        missing.append(&mut credentials);
        missing.into_iter().collect()
    }

    /// A lost connection explains what is missing, and is no reason by itself.
    fn connection(&self, is_lacking: bool) -> Option<Reason> {
        let why = self.link.problem.as_deref().unwrap_or("connecting");
        if !self.link.ever {
            let text = format!("the control plane is not connected yet: {why}");
            return Some(Reason::new(ReasonKind::NeverConnected, text));
        }
        let since = to_the_second(self.link.since);
        let is_lost = is_lacking && !self.link.connected;
        is_lost.then(|| {
            let text = format!("the control plane is not connected since {since}: {why}");
            Reason::new(ReasonKind::NotConnected, text)
        })
    }

    fn listeners(&self, now: Timestamp) -> impl Iterator<Item = Reason> {
        let ids = self.presented.iter();
        ids.filter_map(move |id| self.listener(id, now))
    }

    fn registrations(&self, now: Timestamp) -> impl Iterator<Item = Reason> {
        let granted = self.workloads().filter(|held| {
            let id = &held.entitlement.spiffe_id;
            !self.presented.contains(&id)
        });
        granted.filter_map(move |held| expiry(held, now))
    }

    fn listener(&self, id: &SpiffeId, now: Timestamp) -> Option<Reason> {
        let held = self.snapshot.for_proxy(id);
        if self.not_installed.contains(id) {
            let why = held.and_then(|held| held.problem.as_deref());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let text = format!("{id} is not installed{why}");
            return Some(Reason::new(ReasonKind::NotInstalled, text));
        }
        expiry(held?, now)
    }

    /// The node's own credential serves nobody: without it nothing can be had, and what is held is
    /// good. Where nothing good is held either, there is nothing left.
    fn node(&self, now: Timestamp) -> Option<Reason> {
        let node = self.snapshot.entries.get(&EntitlementId::node())?;
        let is_good = |svid: &Arc<Svid>| !svid.lifetime.is_expired(now);
        let mut held = self.workloads().filter_map(|held| held.svid.as_ref());
        if held.any(is_good) {
            return None;
        }
        expiry(node, now)
    }

    fn workloads(&self) -> impl Iterator<Item = &Held> {
        let entries = self.snapshot.entries.values();
        entries.filter(|held| held.entitlement.id != EntitlementId::node())
    }
}

/// Why a credential that is held is of no use.
fn expiry(held: &Held, now: Timestamp) -> Option<Reason> {
    let svid = held.svid.as_ref()?;
    if !svid.lifetime.is_expired(now) {
        return None;
    }
    let (id, at) = (&svid.id, to_the_second(svid.lifetime.not_after));
    let why = held.problem.as_deref().unwrap_or("it was not renewed");
    let text = format!("the certificate of {id} expired at {at}: {why}");
    Some(Reason::new(ReasonKind::Expired, text))
}

/// The listeners of which a kind of places is taken.
fn crowded(listeners: &[Counted]) -> impl Iterator<Item = Reason> {
    listeners.iter().filter_map(|(name, counters)| {
        let text = format!("{name}: {}", counters.crowded()?);
        Some(Reason::new(ReasonKind::Crowded, text))
    })
}

#[cfg(test)]
mod tests;
