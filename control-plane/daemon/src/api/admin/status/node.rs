//! One node: how it stands, what it holds and who is behind it.

use std::collections::BTreeSet;

use countersign_authority::{Elsewhere, EndpointOverview, NodeOverview};
use countersign_fleet::standing::{Facts, NodeStanding, Standing, SvidFacts};
use countersign_fleet::{NodeState, Reported, ReportedKind};
use countersign_model::entitlement::ahead_of_demand;
use countersign_model::{EntitlementId, Serial, SpiffeId};
use countersign_proto::admin as wire;
use countersign_proto::convert::time::timestamp;
use jiff::Timestamp;

use super::Asked;
use crate::plane::Plane;

/// What is known of a node at one moment.
pub(super) struct Reading<'a> {
    overview: &'a NodeOverview,
    told: NodeState,
    /// How it stands.
    pub(super) standing: NodeStanding,
    /// Its endpoints, and how they stand.
    pub(super) endpoints: Vec<(&'a EndpointOverview, Standing)>,
    /// The newest bundle.
    bundle: &'a str,
    /// The control plane that has its stream, where that is another one.
    replica: Option<String>,
}

impl<'a> Reading<'a> {
    pub(super) fn of(
        plane: &Plane,
        overview: &'a NodeOverview,
        bundle: &'a str,
        now: Timestamp,
    ) -> Self {
        let told = plane.fleet.node(&overview.id);
        let here = plane.hub.is_connected(&overview.id);
        let elsewhere = plane.authority.elsewhere(&overview.id, now);
        let standing = node_standing(overview, &told, (here, elsewhere.as_ref()), now);
        let replica = match elsewhere {
            Some(Elsewhere::Open(replica, _)) if !here => Some(replica),
            _ => None,
        };
        let ahead = told.enrol_ahead.map(|ahead| {
            let entitlements = overview.endpoints.iter().map(|it| &*it.entitlement);
            ahead_of_demand(entitlements, ahead)
        });
        let endpoint = |it| {
            let outdated = EndpointOverview::outdated(it);
            let known = (&told, replica.is_some());
            let facts = facts(it, known, standing, ahead.as_ref(), outdated);
            let mut said = facts.standing(now);
            // The row of the node says so itself.
            let is_said = it.entitlement.is_node() && !standing.is_connected();
            said.needs_attention &= !is_said;
            (it, said)
        };
        let endpoints = overview.endpoints.iter().map(endpoint).collect();
        Self {
            overview,
            told,
            standing,
            endpoints,
            bundle,
            replica,
        }
    }

    /// Whether an operator should look at the node itself: not where it was put out and nobody misses
    /// it, nor where nothing of it is left.
    pub(super) fn needs_attention(&self) -> bool {
        match self.standing {
            NodeStanding::Connected(_) => false,
            NodeStanding::Away(_) => self.endpoints.iter().any(|(it, _)| is_missed(it)),
            _ => self
                .endpoints
                .iter()
                .any(|(it, _)| !it.entitlement.is_node()),
        }
    }

    /// Those behind it who validate with a bundle, and how many of them do not have the newest.
    pub(super) fn consumers(&self) -> (u64, u64) {
        let validating = self.told.consumers.iter().filter(|it| validates(it));
        let behind = validating.clone().filter(|it| self.is_behind(it)).count();
        let crowd = self.told.crowd.as_ref();
        let more = crowd.map_or(0, |crowd| crowd.count);
        let more_behind = crowd.map_or(0, |crowd| {
            let has = crowd.bundle_version.as_deref() == Some(self.bundle);
            if has { 0 } else { crowd.count }
        });
        (
            (validating.count() + more) as u64,
            (behind + more_behind) as u64,
        )
    }

    fn is_behind(&self, it: &Reported) -> bool {
        self.replica.is_none() && validates(it) && it.bundle_version.as_deref() != Some(self.bundle)
    }

    /// The endpoints that pass the filter.
    pub(super) fn matching(
        &self,
        asked: &Asked,
    ) -> impl Iterator<Item = &(&'a EndpointOverview, Standing)> {
        let is_below = |id: &SpiffeId| {
            let above = asked.id.as_ref();
            above.is_none_or(|above| id.is_at_or_below(above))
        };
        let endpoints = self.endpoints.iter();
        endpoints.filter(move |(it, _)| is_below(&it.entitlement.spiffe_id))
    }

    /// The node as it is told; `None` where nothing of it is asked for.
    pub(super) fn shown(&self, asked: &Asked) -> Option<wire::NodeStatus> {
        let matching: Vec<_> = self.matching(asked).collect();
        if asked.id.is_some() && matching.is_empty() {
            return None;
        }
        let mut matching = matching.into_iter();
        let of_ids: Option<BTreeSet<Serial>> = asked.id.as_ref().map(|_| {
            let svids = matching.clone().filter_map(|(it, _)| it.svid.as_ref());
            svids.map(|svid| svid.serial).collect()
        });
        let is_asked = |it: &&Reported| {
            let holds = |of: &BTreeSet<Serial>| it.serials.iter().any(|serial| of.contains(serial));
            of_ids.as_ref().is_none_or(holds) && (!asked.problems || self.is_behind(it))
        };
        let consumers = self.told.consumers.iter().filter(is_asked);
        let consumers: Vec<_> = consumers.map(|it| self.consumer(it)).collect();
        let endpoints = matching
            .by_ref()
            .filter(|(_, standing)| !asked.problems || standing.needs_attention);
        let endpoints: Vec<_> = endpoints.map(|it| self.endpoint(it)).collect();
        let is_well = !self.needs_attention() && endpoints.is_empty() && consumers.is_empty();
        if asked.problems && is_well {
            return None;
        }
        Some(wire::NodeStatus {
            endpoints,
            consumers,
            ..self.node()
        })
    }

    fn node(&self) -> wire::NodeStatus {
        let attested = self.overview.attested.as_ref();
        let evicted = attested.and_then(|it| it.evicted.as_ref());
        let out = self.overview.banned.as_ref().or(evicted);
        wire::NodeStatus {
            id: self.overview.id.to_string(),
            connected: self.standing.is_connected(),
            state: self.standing.as_str().to_owned(),
            since: self.standing.since().map(timestamp),
            needs_attention: self.needs_attention(),
            reason: out.map_or_else(String::new, |(_, reason)| reason.clone()),
            attested_at: attested.map(|it| timestamp(it.at)),
            credential_not_after: attested.map(|it| timestamp(it.credential_not_after)),
            bundle_version_acknowledged: self.told.bundle.clone().unwrap_or_default(),
            bundle_since: self.told.bundle_since.map(timestamp),
            consumers_more: self.told.crowd.as_ref().map_or(0, |it| it.count as u64),
            endpoints: Vec::new(),
            consumers: Vec::new(),
            replica: self.replica.clone().unwrap_or_default(),
        }
    }

    fn endpoint(&self, (it, standing): &(&EndpointOverview, Standing)) -> wire::EndpointStatus {
        let (entitlement, svid) = (&it.entitlement, it.svid.as_ref());
        let text = |serial: Option<&Serial>| serial.map(Serial::to_string).unwrap_or_default();
        let renewal = svid.map(|svid| entitlement.renewal(&svid.serial, &svid.lifetime));
        let refused = it.refused.as_ref().map(|(denied, _)| denied);
        let account = it.account.as_ref();
        wire::EndpointStatus {
            entitlement: entitlement.id.to_string(),
            id: entitlement.spiffe_id.to_string(),
            wanted: text(svid.map(|svid| &svid.serial)),
            acknowledged: text(self.told.acknowledged.get(&entitlement.id)),
            served: text(self.told.served.get(&entitlement.id)),
            issued_at: svid.map(|svid| timestamp(svid.lifetime.issued_at)),
            not_after: svid.map(|svid| timestamp(svid.lifetime.not_after)),
            renewal_due: renewal.map(timestamp),
            state: standing.state.to_owned(),
            since: standing.since.map(timestamp),
            needs_attention: standing.needs_attention,
            refused_code: refused.map_or_else(String::new, |denied| denied.code.to_owned()),
            refused_because: refused.map_or_else(String::new, ToString::to_string),
            owner: account.map_or_else(String::new, |(owner, _)| owner.clone()),
            criticality: account.map_or_else(String::new, |(_, it)| it.as_str().to_owned()),
        }
    }

    /// Of a node that is away nobody knows which streams are open there.
    fn consumer(&self, it: &Reported) -> wire::ConsumerStatus {
        let is_known = self.standing.is_connected() && self.replica.is_none();
        let since = if is_known {
            Some(it.since)
        } else {
            self.told.sight.last
        };
        let has_bundle = it.bundle_version.is_some();
        wire::ConsumerStatus {
            id: it.id.clone(),
            kind: it.kind.as_str().to_owned(),
            resource: it.resource.clone(),
            bundle_version: it.bundle_version.clone().unwrap_or_default(),
            connected: is_known && it.connected,
            since: since.map(timestamp),
            bundle_since: has_bundle.then(|| timestamp(it.bundle_since)),
            serials: it.serials.iter().map(Serial::to_string).collect(),
            validates: validates(it),
        }
    }
}

/// The proxy does so too, though the gate of a root goes by what its stream acknowledges.
fn validates(it: &Reported) -> bool {
    it.kind == ReportedKind::Proxy || it.validates()
}

fn is_missed(it: &EndpointOverview) -> bool {
    !it.entitlement.is_node() || it.svid.is_some()
}

fn node_standing(
    overview: &NodeOverview,
    told: &NodeState,
    (here, elsewhere): (bool, Option<&Elsewhere>),
    now: Timestamp,
) -> NodeStanding {
    if let Some((since, _)) = overview.banned {
        return NodeStanding::Banned(since);
    }
    let Some(attested) = &overview.attested else {
        return NodeStanding::NeverAttested;
    };
    match &attested.evicted {
        Some((since, _)) => NodeStanding::Evicted(*since),
        None if here => NodeStanding::Connected(told.sight.since.unwrap_or(now)),
        None => match elsewhere {
            Some(Elsewhere::Open(_, since)) => NodeStanding::Connected(*since),
            Some(Elsewhere::Last(last)) => NodeStanding::Away(told.sight.last.max(Some(*last))),
            None => NodeStanding::Away(told.sight.last),
        },
    }
}

fn facts(
    it: &EndpointOverview,
    (told, is_elsewhere): (&NodeState, bool),
    node: NodeStanding,
    ahead: Option<&BTreeSet<&EntitlementId>>,
    outdated: Option<Option<Timestamp>>,
) -> Facts {
    let entitlement = &it.entitlement;
    let svid = it.svid.as_ref().map(|svid| SvidFacts {
        lifetime: svid.lifetime,
        renewal_due: entitlement.renewal(&svid.serial, &svid.lifetime),
        is_acknowledged: match told.acknowledged.get(&entitlement.id) {
            // What it has is known where its stream is.
            _ if is_elsewhere => true,
            Some(acknowledged) => *acknowledged == svid.serial,
            // What an attestation gave it is no news on its stream, which it opened by that.
            None => entitlement.is_node(),
        },
        outdated,
    });
    Facts {
        refused: it.refused.as_ref().map(|(_, since)| *since),
        node,
        entitled_at: entitlement.created_at,
        is_ahead: ahead.map(|ahead| ahead.contains(&entitlement.id)),
        svid,
    }
}
