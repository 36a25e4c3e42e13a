//! Which CAs there shall be, and what is missing or due: root, intermediate where one is wanted,
//! issuing CA. What cannot be done while a key store is not ready is done once it is.

use std::time::Duration;

use countersign_ca::authorities::CaRecord;
use countersign_ca::key::{Condition, StoreKind};
use countersign_ca::slots::SlotState;
use countersign_fleet::Event;
use countersign_issue::profile::Tier;
use countersign_refusal::{Denied, Unavailable};
use jiff::Timestamp;
use tracing::{info, warn};

use super::ca_set::{CaSet, Certified};
use super::{Authority, AuthorityError, AuthorityInfo, IssuingReplica};

/// A root's successor is prepared when this share of its life is left, as one over it.
const ROOT_RESERVE: i32 = 6;

/// What the hierarchy needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// There is no CA at all.
    Everything,
    /// The root's successor, to be trusted in time.
    Root,
    /// A new intermediate, and an issuing CA under it.
    Intermediate,
    /// A new issuing CA.
    Issuing,
    /// A request for one, to the replica that has the key above it.
    Request,
}

impl Authority {
    /// Makes a new intermediate under the active root, and an issuing CA under it: the bundle
    /// stays as it is.
    ///
    /// # Errors
    /// There shall be none, or its root is not ours; the store or a key is unavailable.
    pub async fn rotate_intermediate(
        &self,
        now: Timestamp,
    ) -> Result<AuthorityInfo, AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let mut next = this.hierarchy.read().clone();
            let made = match this.add_intermediate(&mut next, now).await {
                Ok(record) => { this.add_issuing(&mut next, now).await }.map(|_| record),
                Err(error) => Err(error),
            };
            let replaced = this.replace(made, next, [Event::Authorities], now);
            let record = replaced.await?;
            info!(key_id = record.key_id, "intermediate rotated");
            Ok(AuthorityInfo::of(&record, SlotState::Active))
        })
        .await
    }

    /// Every key store and how it is.
    pub fn key_stores(&self) -> Vec<(StoreKind, Condition)> {
        self.hierarchy.stores().conditions()
    }

    /// Looks at every key store, and mends what can be mended. May wait for a device.
    pub fn probe_keys(&self) {
        self.hierarchy.stores().probe();
    }

    /// Why nothing can be signed now, for people; empty where that is not so.
    pub fn obstacles(&self, now: Timestamp) -> Vec<String> {
        let mut obstacles = self.refused_writes(now);
        obstacles.extend(self.is_sealed());
        obstacles.extend(self.put_back());
        obstacles.extend(self.not_yet_valid(now).map(|wrong| wrong.to_string()));
        let cas = self.hierarchy.read();
        let Some(issuing) = cas.active(Tier::Issuing) else {
            let has_root = cas.active(Tier::Root).is_some();
            let waits = has_root.then(|| cas.why_no_issuing());
            obstacles.push(waits.unwrap_or_else(|| self.why_none()));
            return obstacles;
        };
        let not_ready = |tier: Tier| {
            let store = cas.active(tier)?.store?;
            let condition = self.hierarchy.stores().condition(store)?;
            (!condition.is_ready()).then(|| format!("the key store {store} is {condition}"))
        };
        obstacles.extend(not_ready(Tier::Issuing));
        if now > issuing.not_after || cas.key(&issuing.key_id).is_none() {
            obstacles.push("no issuing CA can sign".to_owned());
            obstacles.extend(not_ready(Tier::Intermediate));
            obstacles.extend(cas.waits_for(now));
        }
        obstacles
    }

    /// What will stand in the way of signing, for people; empty where nothing does.
    pub fn ca_warnings(&self, now: Timestamp) -> Vec<String> {
        self.hierarchy.read().waits_for(now).into_iter().collect()
    }

    /// Whose key signs the issuing CA of this replica, and until when it can issue.
    pub fn issuing_replica(&self, now: Timestamp) -> IssuingReplica {
        self.hierarchy.read().issuing_replica(now)
    }

    fn why_none(&self) -> String {
        let Some(store) = self.settings.hierarchy.root else {
            return "there is no CA yet, and so no sidecar is served: ask for an intermediate with \
                    countersign ca csr, and bring what the root signed with countersign ca import"
                .to_owned();
        };
        match self.hierarchy.stores().condition(store) {
            Some(condition) if !condition.is_ready() => {
                format!("there is no root yet: the key store {store} is {condition}")
            }
            _ => "there is no root yet".to_owned(),
        }
    }

    /// The first CAs of all: made now, or later where that must wait.
    pub(super) async fn begin_hierarchy(&self, now: Timestamp) -> Result<(), AuthorityError> {
        if self.settings.hierarchy.root.is_some() && self.are_ready(&[Tier::Root]) {
            return self.make_first_cas(now).await;
        }
        warn!(reason = self.why_none(), "nothing can be signed yet");
        Ok(())
    }

    /// Does what is due.
    pub(super) async fn keep_hierarchy(&self, now: Timestamp) -> Result<(), AuthorityError> {
        self.look_for_keys(now);
        let answered = self.answer(now).await;
        if self.due(now) == Some(Due::Root) {
            self.prepare_root(now).await?;
        }
        let done = match self.due(now) {
            Some(Due::Everything) => self.make_first_cas_later(now).await,
            Some(Due::Intermediate) => self.rotate_intermediate(now).await.map(drop),
            Some(Due::Issuing) => self.rotate_issuing(now).await.map(drop),
            Some(Due::Request) => self.ask(now).await,
            Some(Due::Root) | None => Ok(()),
        };
        done.and(answered)
    }

    async fn make_first_cas_later(&self, now: Timestamp) -> Result<(), AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            if this.hierarchy.read().active(Tier::Root).is_some() {
                return Ok(());
            }
            this.make_first_cas(now).await
        })
        .await
    }

    fn due(&self, now: Timestamp) -> Option<Due> {
        let cas = self.hierarchy.read();
        let is_ours = self.settings.hierarchy.root.is_some();
        let Some(root) = cas.active(Tier::Root) else {
            return (is_ours && self.are_ready(&[Tier::Root])).then_some(Due::Everything);
        };
        // What is to be done with the root's key is for the replica that has it.
        let has_root = cas.has_key(Tier::Root);
        let is_root_due = is_ours && has_root && self.is_root_due(&cas, root, now);
        if is_root_due && self.are_ready(&[Tier::Root]) {
            return Some(Due::Root);
        }
        if root.store.is_some() && has_root && self.is_intermediate_due(&cas, root, now) {
            let can = self.can_sign(&cas, Tier::Root);
            return can.then_some(Due::Intermediate);
        }
        let parent = self.parent_tier(&cas);
        if !self.is_issuing_due(&cas, parent, now) {
            return None;
        }
        if self.must_ask(&cas, parent, now) {
            return Some(Due::Request);
        }
        self.can_sign(&cas, parent).then_some(Due::Issuing)
    }

    /// The CA that our issuing CA is made under. Where its key is another replica's, that one chooses.
    pub(super) fn parent_tier(&self, cas: &CaSet) -> Tier {
        let chosen = cas.parent_tier(self.wants_intermediate());
        match cas.lowest() {
            Some(lowest) if !cas.has_key(chosen) => lowest.tier,
            _ => chosen,
        }
    }

    fn is_root_due(&self, cas: &CaSet, root: &CaRecord, now: Timestamp) -> bool {
        let life = root.not_after.duration_since(root.issued_at);
        cas.authorities.slots().prepared_root().is_none()
            && root.not_after.duration_since(now) <= life / ROOT_RESERVE
    }

    fn is_intermediate_due(&self, cas: &CaSet, root: &CaRecord, now: Timestamp) -> bool {
        if !self.makes_intermediates() {
            return false;
        }
        let present = cas.active(Tier::Intermediate);
        present.is_none_or(|present| is_half_gone(present, root, now))
    }

    fn is_issuing_due(&self, cas: &CaSet, parent: Tier, now: Timestamp) -> bool {
        let Some(parent) = cas.active(parent) else {
            return false;
        };
        let Some(issuing) = cas.active(Tier::Issuing) else {
            // A replica that joined, or whose issuing CA retired with the one above it.
            return true;
        };
        let is_misplaced = issuing.issued_by != parent.key_id;
        let is_keyless = cas.key(&issuing.key_id).is_none();
        is_misplaced || is_keyless || is_half_gone(issuing, parent, now)
    }

    /// Whether the CA of a tier can sign, and new keys can be made below it.
    fn can_sign(&self, cas: &CaSet, tier: Tier) -> bool {
        let below: &[Tier] = match tier {
            Tier::Root if self.makes_intermediates() => &[Tier::Intermediate, Tier::Issuing],
            _ => &[Tier::Issuing],
        };
        let signer = cas.active(tier).and_then(|signer| signer.store);
        signer.is_some_and(|store| self.is_ready(store))
            && cas.has_key(tier)
            && self.are_ready(below)
    }

    /// Whether new keys of these tiers can be made.
    fn are_ready(&self, tiers: &[Tier]) -> bool {
        let stores = tiers.iter().filter_map(|tier| self.store_of(*tier));
        { stores }.all(|store| self.is_ready(store))
    }

    pub(super) fn is_ready(&self, store: StoreKind) -> bool {
        let condition = self.hierarchy.stores().condition(store);
        condition.is_none_or(|condition| condition.is_ready())
    }

    fn store_of(&self, tier: Tier) -> Option<StoreKind> {
        let hierarchy = &self.settings.hierarchy;
        match tier {
            Tier::Root => hierarchy.root,
            Tier::Intermediate => hierarchy.intermediate.map(|(store, _)| store),
            Tier::Issuing => Some(hierarchy.issuing),
        }
    }

    fn wants_intermediate(&self) -> bool {
        self.settings.hierarchy.intermediate.is_some()
    }

    /// Whether intermediates are signed here.
    fn makes_intermediates(&self) -> bool {
        self.settings.hierarchy.root.is_some() && self.wants_intermediate()
    }

    pub(super) fn ca_ttl(&self, tier: Tier) -> Duration {
        match tier {
            Tier::Root => self.settings.root_ttl,
            Tier::Intermediate => {
                let intermediate = self.settings.hierarchy.intermediate;
                intermediate.map_or(self.settings.root_ttl, |(_, ttl)| ttl)
            }
            Tier::Issuing => self.settings.issuing_ttl,
        }
    }

    /// Where new roots are made.
    pub(super) fn root_store(&self) -> Result<StoreKind, Denied> {
        self.settings.hierarchy.root.ok_or_else(|| Denied {
            code: "root_external",
            message: "the root is not made here: ca.root is \"external\"".to_owned(),
            remedy: "sign the request of `countersign ca csr` with the new root, then \
                     `countersign ca import`",
        })
    }

    /// Everything below a root that became active in `next`.
    pub(super) async fn add_below_root(
        &self,
        next: &mut CaSet,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let root = next.active(Tier::Root);
        let is_ours = root.is_some_and(|root| root.store.is_some());
        if is_ours && self.makes_intermediates() {
            self.add_intermediate(next, now).await?;
        }
        self.add_issuing(next, now).await.map(drop)
    }

    /// Makes an intermediate under the active root of `next` and activates it there.
    async fn add_intermediate(
        &self,
        next: &mut CaSet,
        now: Timestamp,
    ) -> Result<CaRecord, AuthorityError> {
        self.root_store()?;
        let (store, _) = self.settings.hierarchy.intermediate.ok_or_else(no_tier)?;
        next.retires_at(now);
        let (root, root_key) = next.signer(Tier::Root).ok_or_else(no_root)?;
        let held = self.make_key(next, store)?;
        let signer = (&root, root_key.as_ref());
        let certified = Certified::of(Tier::Intermediate, &held, "");
        let record = self.certify_ca(next, certified, signer, now).await?;
        let slots = next.authorities.slots_mut();
        slots.activate_intermediate(&record.key_id, &root.key_id, record.not_after)?;
        next.authorities.keep(record.clone());
        next.keys.insert(record.key_id.clone(), held);
        Ok(record)
    }
}

/// Whether half of a CA's life is over. One that ends with its parent cannot be replaced by a
/// longer one.
fn is_half_gone(ca: &CaRecord, parent: &CaRecord, now: Timestamp) -> bool {
    let life = ca.not_after.duration_since(ca.issued_at);
    let is_clamped = ca.not_after >= parent.not_after;
    !is_clamped && now.duration_since(ca.issued_at) >= life / 2
}

pub(super) fn no_root() -> AuthorityError {
    Unavailable::retry("the active root's key is not there").into()
}

pub(super) fn no_signer() -> AuthorityError {
    Unavailable::retry("no key is there that may sign an issuing CA").into()
}

fn no_tier() -> Denied {
    Denied {
        code: "no_intermediate",
        message: "this hierarchy has no intermediate".to_owned(),
        remedy: "set ca.intermediate = true, or see `countersign ca rotate-issuing`",
    }
}
