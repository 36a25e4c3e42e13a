//! What this node holds: the one place that every consumer reads from.
//!
//! `install` writes; `proxy`, `sds`, `workload_api` and `status` read an immutable [`Snapshot`]
//! and wait for the next one that has something of theirs otherwise. Nothing older ever replaces something newer here, and a
//! failure never replaces a good credential.

mod changes;
pub(crate) mod endings;
mod followers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_discovery::Stamp;
use countersign_model::{Claimed, Entitlement, EntitlementId, Lifetime, Serial, SpiffeId};
use countersign_verify::TrustBundle;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use zeroize::Zeroizing;

use changes::Changes;
use followers::Followers;
pub(crate) use followers::{Followed, Follower, Interest, MAX_FOLLOWED_NAMES};

/// One verified X.509-SVID with its private key.
pub(crate) struct Svid {
    /// The identity.
    pub(crate) id: SpiffeId,
    /// Leaf first, root not included.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// PKCS#8 DER.
    pub(crate) key: Zeroizing<Vec<u8>>,
    /// The serial of the leaf.
    pub(crate) serial: Serial,
    /// From issue to NotAfter.
    pub(crate) lifetime: Lifetime,
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// One entitlement and what is held for it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The right.
    pub(crate) entitlement: Arc<Entitlement>,
    /// The credential, once installed.
    pub(crate) svid: Option<Arc<Svid>>,
    /// Why there is none, or why the last renewal failed; for `status`.
    pub(crate) problem: Option<Arc<str>>,
}

/// Everything that is held, at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Rises with every change.
    pub(crate) generation: u64,
    /// Rises with every change of an entitlement, and with no other.
    pub(crate) rights: u64,
    /// The state of the control plane that this was last brought up to; `None` before it has said,
    /// since this process started, who may have what.
    pub(crate) stamp: Option<Stamp>,
    /// The bundle of our own trust domain; `None` before the first attestation.
    pub(crate) bundle: Option<Arc<TrustBundle>>,
    /// Why a newer bundle is not installed, where one was refused; for `status`.
    pub(crate) bundle_problem: Option<Arc<str>>,
    /// Why what must survive a restart is not on disk, where it is not.
    pub(crate) unsaved: Option<Arc<str>>,
    /// By entitlement. The node's own is among them.
    pub(crate) entries: Arc<BTreeMap<EntitlementId, Held>>,
}

impl Snapshot {
    /// Whether the control plane has said, since this process started, who may have what.
    pub(crate) fn knows_rights(&self) -> bool {
        self.bundle.is_some() && self.stamp.is_some()
    }

    /// What a caller with these attributes may be handed, the default first.
    pub(crate) fn admitted<'a>(&'a self, caller: &Claimed) -> Vec<&'a Held> {
        let mut held: Vec<_> = self
            .entries
            .values()
            .filter(|held| held.entitlement.admits(caller))
            .collect();
        held.sort_by(|a, b| a.entitlement.rank().cmp(&b.entitlement.rank()));
        held
    }

    /// The workload entitlements to one identity, the default first. Two of them differ in
    /// selectors and lifetime.
    pub(crate) fn rights_to(&self, id: &SpiffeId) -> Vec<&Held> {
        let node = EntitlementId::node();
        let workload =
            |held: &&Held| held.entitlement.spiffe_id == *id && held.entitlement.id != node;
        let mut rights: Vec<_> = self.entries.values().filter(workload).collect();
        rights.sort_by(|a, b| a.entitlement.rank().cmp(&b.entitlement.rank()));
        rights
    }

    /// What this node's own proxy may present as `id`: of the entitlements to it the first whose
    /// credential is held, else the first.
    pub(crate) fn for_proxy(&self, id: &SpiffeId) -> Option<&Held> {
        let rights = self.rights_to(id);
        let held = rights.iter().find(|right| right.svid.is_some());
        held.or(rights.first()).copied()
    }
}

/// The cell that holds the newest snapshot.
#[derive(Debug)]
pub(crate) struct Holdings {
    snapshot: ArcSwap<Snapshot>,
    followers: Followers,
    demand: watch::Sender<BTreeSet<EntitlementId>>,
}

impl Holdings {
    /// Nothing is held yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            followers: Followers::default(),
            demand: watch::channel(BTreeSet::new()).0,
        })
    }

    /// The newest snapshot.
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// [`Snapshot::rights`] of the newest one.
    pub(crate) fn rights(&self) -> u64 {
        self.snapshot.load().rights
    }

    /// Follows everything from the next snapshot on, until told what alone is to be followed.
    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        Follower::new(Arc::clone(self))
    }

    /// How many followers changes have woken in the life of this process.
    pub(crate) fn woken(&self) -> u64 {
        self.followers.woken()
    }

    /// How many followers wait for a part of what is held.
    #[cfg(test)]
    pub(crate) fn asleep(&self) -> usize {
        self.followers.asleep()
    }

    /// Publishes the snapshot that `change` makes of the newest one. There is one writer: the
    /// control task. The generation is raised here.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let last = self.snapshot.load_full();
        let mut next = Snapshot::clone(&last);
        change(&mut next);
        next.generation += 1;
        let changes = Changes::between(&last, &next);
        if changes.rights {
            next.rights += 1;
            // What has ended is wanted no more, or the set would grow for ever. Nobody is woken by it.
            self.demand.send_if_modified(|wanted| {
                wanted.retain(|id| next.entries.contains_key(id));
                false
            });
        }
        let generation = next.generation;
        self.snapshot.store(Arc::new(next));
        self.followers.wake(&changes, generation);
    }

    /// Wakes those who follow a credential that ended after `since` and by `now`.
    fn tell_ended(&self, since: Timestamp, now: Timestamp) {
        let snapshot = self.load();
        let changes = Changes::ended(&snapshot.entries, since, now);
        self.followers.wake(&changes, snapshot.generation);
    }

    /// Somebody wants this identity now: it is enrolled even beyond the cap ahead of demand.
    pub(crate) fn demand(&self, id: &EntitlementId) {
        self.demand
            .send_if_modified(|wanted| wanted.insert(id.clone()));
    }

    /// The entitlements that somebody has demanded, of those that there are.
    pub(crate) fn demanded(&self) -> watch::Receiver<BTreeSet<EntitlementId>> {
        self.demand.subscribe()
    }
}

type Entries = Arc<BTreeMap<EntitlementId, Held>>;
