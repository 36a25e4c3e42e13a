//! The identities that our own listeners present, kept in step with what is held.
//!
//! A renewal is swapped in for the handshakes that begin from then on. A removed right withdraws
//! the certificate and ends every connection that was made under it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use countersign_model::{Entitlement, EntitlementId, Serial, SpiffeId};
use countersign_verify::tls::{IdentityCell, certified_key};
use futures_util::future::{join, join_all};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::attest::uid_alone::{admits, is_admissible_by_uid};
use crate::clock::Clock;
use crate::consumers::{Consumer, ConsumerKind, Consumers, MAX_SERIALS};
use crate::holdings::{Followed, Held, Holdings, Interest, Snapshot, Svid};

/// The name under which our own proxy is reported as a consumer.
const PROXY_CONSUMER: &str = "proxy";

/// The newest serial of each entitlement that was seen in one of our own handshakes. Bounded by
/// the identities that the configuration names.
pub(crate) type Served = BTreeMap<EntitlementId, (Serial, Timestamp)>;

/// The certificate of an identity has expired and no newer one came. Log, `status` and refusals say
/// it in these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate of the identity expired at {not_after}, and no newer one has come")]
pub(crate) struct IdentityExpired {
    /// Until when it was valid.
    pub(crate) not_after: Timestamp,
}

/// What is presented at this moment.
#[derive(Debug)]
pub(crate) struct Presented {
    /// The right under which it is held.
    pub(crate) entitlement: Arc<Entitlement>,
    /// Every right to this identity; a local process may satisfy any of them.
    rights: Vec<Arc<Entitlement>>,
    svid: Arc<Svid>,
    seen: AtomicBool,
}

impl Presented {
    /// The serial of the leaf.
    #[cfg(test)]
    pub(crate) fn serial(&self) -> Serial {
        self.svid.serial
    }

    /// Whether the leaf can still be shown.
    ///
    /// # Errors
    /// It has expired.
    pub(crate) fn check_time(&self, now: Timestamp) -> Result<(), IdentityExpired> {
        let not_after = self.svid.lifetime.not_after;
        match self.svid.lifetime.is_expired(now) {
            true => Err(IdentityExpired { not_after }),
            false => Ok(()),
        }
    }

    /// Whether the owner of a loopback socket satisfies one of the rights by its uid.
    pub(crate) fn admits(&self, uid: u32) -> bool {
        self.rights.iter().any(|right| admits(right, uid))
    }

    /// Whether some uid satisfies one of the rights: else nobody is ever admitted by it.
    pub(crate) fn is_admissible_by_uid(&self) -> bool {
        self.rights.iter().any(|right| is_admissible_by_uid(right))
    }

    /// Whether all of its rights are among these.
    fn is_covered_by(&self, rights: &[&Held]) -> bool {
        let stands = |own: &Arc<Entitlement>| rights.iter().any(|r| r.entitlement.id == own.id);
        self.rights.iter().all(stands)
    }
}

/// One identity of our own listeners.
#[derive(Debug)]
pub(crate) struct LocalIdentity {
    id: SpiffeId,
    cell: Arc<IdentityCell>,
    presented: ArcSwapOption<Presented>,
    right: Mutex<CancellationToken>,
    ready: watch::Sender<bool>,
}

impl LocalIdentity {
    fn new(id: SpiffeId) -> Self {
        Self {
            id,
            cell: IdentityCell::empty(),
            presented: ArcSwapOption::empty(),
            right: Mutex::default(),
            ready: watch::channel(false).0,
        }
    }

    /// The identity.
    pub(crate) fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// What handshakes present.
    pub(crate) fn cell(&self) -> &Arc<IdentityCell> {
        &self.cell
    }

    /// What is presented at this moment; `None` before the first chain and after the right ended.
    pub(crate) fn presented(&self) -> Option<Arc<Presented>> {
        self.presented.load_full()
    }

    /// Cancelled when the right to this identity ends.
    pub(crate) fn right(&self) -> CancellationToken {
        self.right
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for the first chain.
    pub(crate) async fn installed(&self) {
        // The sender lives as long as `self`: the wait ends with a chain or is dropped.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Comes into step with the rights to this identity, and asks for its credential. A right that
    /// ended takes the connections with it, because it may be the one that admitted them.
    fn update(&self, snapshot: &Snapshot, holdings: &Holdings) {
        let (rights, held) = (snapshot.rights_to(&self.id), snapshot.for_proxy(&self.id));
        if let Some(held) = held {
            holdings.demand(&held.entitlement.id);
        }
        let before = self.presented();
        // Without a credential: the right that the presented one came by has ended.
        let Some((held, svid)) = held.and_then(|held| Some((held, held.svid.as_ref()?))) else {
            return self.withdraw();
        };
        self.install(&rights, &held.entitlement, svid);
        // After the swap: a connection that is accepted from here on knows the remaining rights.
        if before.is_some_and(|before| !before.is_covered_by(&rights)) {
            self.end_connections();
        }
    }

    fn install(&self, rights: &[&Held], entitlement: &Arc<Entitlement>, svid: &Arc<Svid>) {
        let rights: Vec<_> = rights.iter().map(|r| Arc::clone(&r.entitlement)).collect();
        let current = self.presented.load();
        let known = current.as_ref();
        let unchanged = |p: &Arc<Presented>| {
            p.svid.serial == svid.serial && p.entitlement == *entitlement && p.rights == rights
        };
        if known.is_some_and(unchanged) {
            return;
        }
        match certified_key(svid.chain.clone(), &svid.key) {
            Ok(key) => self.cell.install(key),
            // It loaded when it was installed: this cannot happen, and the old one stays.
            Err(error) => {
                tracing::error!(spiffe_id = %self.id, %error, "an installed key does not load");
                return;
            }
        }
        let same = known.is_some_and(|p| p.svid.serial == svid.serial);
        let seen = same && known.is_some_and(|p| p.seen.load(Ordering::Relaxed));
        self.presented.store(Some(Arc::new(Presented {
            entitlement: Arc::clone(entitlement),
            rights,
            svid: Arc::clone(svid),
            seen: seen.into(),
        })));
        self.ready.send_replace(true);
    }

    fn withdraw(&self) {
        if self.presented.swap(None).is_none() {
            return;
        }
        self.cell.withdraw();
        self.end_connections();
    }

    fn end_connections(&self) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *right).cancel();
        tracing::warn!(spiffe_id = %self.id, "a right to an identity ended, its connections are closed");
    }
}

/// All identities that the configuration names.
#[derive(Debug)]
pub(crate) struct Identities {
    identities: BTreeMap<SpiffeId, Arc<LocalIdentity>>,
    clock: Clock,
    served: watch::Sender<Served>,
}

impl Identities {
    /// Nothing is presented yet.
    pub(crate) fn new(ids: impl IntoIterator<Item = SpiffeId>, clock: Clock) -> Arc<Self> {
        let identities = ids
            .into_iter()
            .map(|id| (id.clone(), Arc::new(LocalIdentity::new(id))))
            .collect();
        Arc::new(Self {
            identities,
            clock,
            served: watch::channel(Served::new()).0,
        })
    }

    /// The time that certificates are judged by.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// One of them.
    pub(crate) fn of(&self, id: &SpiffeId) -> Option<&Arc<LocalIdentity>> {
        self.identities.get(id)
    }

    /// All of them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &SpiffeId> {
        self.identities.keys()
    }

    /// Those that nothing is presented for.
    pub(crate) fn missing(&self) -> Vec<&SpiffeId> {
        let missing = |identity: &&Arc<LocalIdentity>| identity.presented.load().is_none();
        let identities = self.identities.values().filter(missing);
        identities.map(|identity| &identity.id).collect()
    }

    /// A handshake finished while `before` was presented. Where a rotation fell into it, it is not
    /// known which of the two was shown, and the next handshake tells.
    pub(crate) fn note_served(
        &self,
        identity: &LocalIdentity,
        before: &Arc<Presented>,
        now: Timestamp,
    ) {
        let unchanged = identity
            .presented
            .load()
            .as_ref()
            .is_some_and(|after| Arc::ptr_eq(after, before));
        if !unchanged || before.seen.swap(true, Ordering::Relaxed) {
            return;
        }
        let seen = (before.svid.serial, now);
        tracing::info!(spiffe_id = %identity.id, serial = %seen.0, "first handshake with a new certificate");
        self.served.send_modify(|served| {
            served.insert(before.entitlement.id.clone(), seen);
        });
    }

    /// The newest serials that were seen, and every change of them.
    pub(crate) fn served(&self) -> watch::Receiver<Served> {
        self.served.subscribe()
    }

    /// Keeps all identities in step with `holdings`, until dropped: each when a right to it or its
    /// credential changed.
    pub(crate) async fn follow(
        self: Arc<Self>,
        holdings: Arc<Holdings>,
        consumers: Arc<Consumers>,
    ) {
        let each = self.identities.values().map(|identity| {
            let followed = Followed {
                names: [identity.id.as_str().into()].into(),
                ..Followed::default()
            };
            self.follow_part(followed, Some(identity), (&holdings, &consumers))
        });
        let followed = Followed {
            bundle: true,
            ..Followed::default()
        };
        let bundle = self.follow_part(followed, None, (&holdings, &consumers));
        join(join_all(each), bundle).await;
    }

    /// Follows an identity, or the bundle, and reports of both.
    async fn follow_part(
        &self,
        followed: Followed,
        identity: Option<&Arc<LocalIdentity>>,
        (holdings, consumers): (&Arc<Holdings>, &Arc<Consumers>),
    ) {
        let follower = holdings.follow();
        follower.follow(Interest::Only(followed), holdings.load().generation);
        loop {
            follower.take_due();
            let snapshot = holdings.load();
            if let Some(identity) = identity {
                identity.update(&snapshot, holdings);
            }
            self.report(&snapshot, consumers);
            follower.due().await;
        }
    }

    /// Our own proxy is a consumer as well: it validates with a bundle from the moment at which
    /// that is published.
    fn report(&self, snapshot: &Snapshot, consumers: &Consumers) {
        let Some(bundle) = &snapshot.bundle else {
            return;
        };
        let presented = self.identities.values().filter_map(|i| i.presented());
        let presented: Vec<_> = presented.collect();
        let not_after = presented.iter().map(|p| p.svid.lifetime.not_after).max();
        let serials = presented.iter().map(|p| p.svid.serial);
        let serials = serials.take(MAX_SERIALS).collect();
        let new = || Consumer {
            kind: ConsumerKind::Proxy,
            resource: Some(bundle.trust_domain().id().to_string()),
            bundle_version: None,
            delivered_at: None,
            connected: true,
            credential_not_after: None,
            serials: Vec::new(),
        };
        consumers.update(PROXY_CONSUMER, new, |proxy| {
            proxy.bundle_version = Some(bundle.version().to_owned());
            proxy.credential_not_after = not_after;
            proxy.serials = serials;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_api::harness::until;
    use crate::pki::{Authority, id, right, serial};

    fn hold(holdings: &Holdings, authority: &Authority, digit: char, path: &str, index: u64) {
        let entitlement = Arc::new(right(digit, path, 0));
        let held = Held {
            svid: Some(authority.svid(&entitlement.spiffe_id, serial(index))),
            entitlement,
            problem: None,
        };
        holdings.publish(|snapshot| {
            let name = held.entitlement.id.clone();
            Arc::make_mut(&mut snapshot.entries).insert(name, held);
        });
    }

    #[tokio::test]
    async fn renewal_wakes_the_listeners_of_that_identity() {
        let (authority, holdings) = (Authority::new("root"), Holdings::new());
        let identities = Identities::new(["/web", "/db"].map(id), Clock::new(crate::pki::now));
        let following = Arc::clone(&identities).follow(holdings.clone(), Arc::default());
        let following = tokio::spawn(following);
        until(|| holdings.asleep() == 3).await;

        hold(&holdings, &authority, '1', "/web", 1);
        hold(&holdings, &authority, '2', "/foreign", 1);
        assert_eq!(holdings.woken(), 1);
        let web = identities.of(&id("/web")).unwrap();
        until(|| web.presented().is_some_and(|it| it.serial() == serial(1))).await;
        until(|| holdings.asleep() == 3).await;

        holdings.publish(|snapshot| snapshot.bundle = Some(authority.bundle()));
        assert_eq!(holdings.woken(), 2, "what is told of us changes with it");
        hold(&holdings, &authority, '1', "/web", 2);
        until(|| web.presented().is_some_and(|it| it.serial() == serial(2))).await;
        following.abort();
    }
}
