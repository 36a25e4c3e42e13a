//! Nodes and registrations, as operators see them.

use countersign_attest::nodes::Attested;
use countersign_inventory::Lineage;
use countersign_model::{EntitlementId, Registration, SpiffeId};
use countersign_refusal::Denied;
use countersign_registry::{Filter, Kept, Place, Registry};
use jiff::Timestamp;

use super::Authority;
use super::state::State;

/// Registrations that a list reads under one lock.
pub(super) const REGISTRATIONS_AT_ONCE: usize = 1_000;

/// A registration, and why it is not issued for any more.
pub type Judged = (Registration, Option<Denied>);

/// One node: what is known of it, and why it is out if it is.
#[derive(Clone, Debug)]
pub struct ListedNode {
    /// Its ID.
    pub id: SpiffeId,
    /// Its attestation; `None` for one that is banned and never attested.
    pub attested: Option<Attested>,
    /// How many registrations it holds.
    pub registrations: usize,
    /// How many join tokens could still be used for it.
    pub unused_tokens: usize,
    /// Since when it is banned, and why.
    pub banned: Option<(Timestamp, String)>,
}

impl Authority {
    /// Every node that attested or is banned, or this one alone, by ID.
    pub fn list_nodes(&self, only: Option<&SpiffeId>, now: Timestamp) -> Vec<ListedNode> {
        let state = self.state.read();
        let is_listed = |id: &SpiffeId| state.nodes.contains(id) || state.bans.of(id).is_some();
        if let Some(id) = only {
            let listed = is_listed(id).then(|| state.listed_node(id, now));
            return listed.into_iter().collect();
        }
        let attested = state.nodes.ids();
        let banned = state.bans.iter().map(|(id, _)| id);
        let banned = banned.filter(|id| !state.nodes.contains(id));
        let ids = attested.chain(banned);
        let mut listed: Vec<_> = ids.map(|id| state.listed_node(id, now)).collect();
        drop(state);
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        listed
    }

    /// All registrations, by key.
    pub fn registrations(&self) -> Vec<Registration> {
        let mut all = Vec::new();
        self.read_registrations(|_, kept| all.push(kept.registration.clone()));
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Some of the registrations that pass a filter, with why each is not issued for any more; and where
    /// to go on from, `None` once there are no more.
    pub fn judged_page(
        &self,
        filter: &Filter,
        after: Option<&Place>,
        now: Timestamp,
    ) -> (Vec<Judged>, Option<Place>) {
        let state = self.state.read();
        let page = state.registry.page(after, REGISTRATIONS_AT_ONCE);
        let last = page.last().map(|kept| &kept.registration.key);
        let last = last.map(|key| (key.id.clone(), key.entitlement_id()));
        let registrations = page.iter().map(|kept| &kept.registration);
        let passing = registrations.filter(|it| filter.passes(it, now));
        let judged = passing.map(|it| (it.clone(), state.registry.judge(it, None, now).err()));
        (judged.collect(), last)
    }

    /// The DNS names that the registrations of these lineages have now, one list each.
    pub fn dns_names(&self, lineages: &[Lineage]) -> Vec<Vec<String>> {
        let mut names = Vec::with_capacity(lineages.len());
        for some in lineages.chunks(REGISTRATIONS_AT_ONCE) {
            let state = self.state.read();
            names.extend(some.iter().map(|it| state.dns_names(it)));
        }
        names
    }

    /// How many registrations are not issued for any more: by policy, or because they ended.
    pub fn refused_count(&self, now: Timestamp) -> usize {
        let mut refused = 0;
        self.read_registrations(|registry, kept| {
            refused += usize::from(registry.judge(&kept.registration, None, now).is_err());
        });
        refused
    }

    /// Reads every registration, some of them at a time: whoever writes waits for no list. What is
    /// written meanwhile is in it or not.
    fn read_registrations(&self, mut each: impl FnMut(&Registry, &Kept)) {
        let mut last = None;
        loop {
            let state = self.state.read();
            let page = state.registry.page(last.as_ref(), REGISTRATIONS_AT_ONCE);
            let Some(key) = page.last().map(|kept| &kept.registration.key) else {
                return;
            };
            last = Some((key.id.clone(), key.entitlement_id()));
            page.into_iter()
                .for_each(|kept| each(&state.registry, kept));
        }
    }
}

impl State {
    fn dns_names(&self, lineage: &Lineage) -> Vec<String> {
        let id = SpiffeId::new(&lineage.spiffe_id).ok();
        let node = SpiffeId::new(&lineage.node).ok();
        let kept = match (node, EntitlementId::parse(&lineage.entitlement)) {
            (Some(node), Some(entitlement)) => self.registry.find(&node, &entitlement),
            _ => id.and_then(|id| self.registry.find_manual(&id)),
        };
        kept.map_or_else(Vec::new, |kept| kept.registration.dns.clone())
    }

    fn listed_node(&self, id: &SpiffeId, now: Timestamp) -> ListedNode {
        let ban = self.bans.of(id);
        ListedNode {
            id: id.clone(),
            attested: self.nodes.attestation(id),
            registrations: self.registry.count_on(id),
            unused_tokens: self.tokens.unused(id, now).count(),
            banned: ban.map(|ban| (ban.since, ban.reason.clone())),
        }
    }
}
