//! What is held, until when, and *why not* where it is not: served on a Unix socket in the state
//! directory, which only the same user and root can reach, and shown by the verb `status`.

mod client;
mod server;
mod table;

use std::borrow::Cow;
use std::collections::BTreeSet;

use countersign_cli::distance::to_the_second;
use countersign_model::entitlement::ahead_of_demand;
use countersign_model::{EntitlementId, Serial, SpiffeId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use client::fetch;
pub(crate) use server::{MAX_CONNECTIONS, serve};
pub use table::render;

use crate::control::link_state::{LeftAddress, LinkState, UnreachedAddress};
use crate::holdings::{Held, Snapshot};
use crate::proxy::Listening;
use crate::telemetry::Counted;

/// Largest report, in bytes.
pub(crate) const MAX_REPORT_BYTES: usize = 16 * 1024 * 1024;
const PATH: &str = "/status";
const JUST_ENTITLED: &str = "waiting for the control plane to certify its key";
const NOT_DEMANDED: &str = "beyond enrol_ahead, and nobody has asked for it yet";
const UNCONNECTED: &str = "unknown until the control plane is connected: workload keys are never stored, \
     so after a restart they are enrolled anew";
const NO_ENTITLEMENT: &str = "the control plane has not entitled this node to it";
const RIGHT_WITHOUT_CHAIN: &str = "its first certificate has not arrived yet";

/// Everything that one sidecar tells about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When this was said.
    pub(crate) at: Timestamp,
    /// Version of the running sidecar.
    pub(crate) version: String,
    /// The connection to the control plane.
    pub(crate) control_plane: ControlPlane,
    /// The trust bundle; absent before the first attestation.
    pub(crate) bundle: Option<Bundle>,
    /// For how long every credential would last without the control plane.
    pub(crate) outage_headroom_secs: u64,
    /// By name, what is held or why not.
    pub(crate) identities: Items<Identity>,
    /// Every listener.
    pub(crate) listeners: Items<Listener>,
    /// How full those are that count their connections.
    #[serde(default)]
    pub(crate) places: Items<ListenerPlaces>,
    /// Why the sidecar is not ready; empty when it is.
    pub(crate) not_ready: Vec<String>,
    /// What is not as it should be, ready or not.
    #[serde(default)]
    pub(crate) degraded: Vec<String>,
}

/// A list, in the shape of every list of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Items<T> {
    /// Its entries.
    pub(crate) items: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

/// How full a listener is. A bound of 0 is that of a kind which it does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListenerPlaces {
    /// Its name in logs and metrics.
    pub(crate) listener: String,
    /// Connections that are open, of peers and users who are recognised where it tells them apart.
    pub(crate) connections: usize,
    /// How many there may be.
    pub(crate) bound: usize,
    /// Connections of users who may have nothing.
    pub(crate) strangers: usize,
    /// How many there may be.
    pub(crate) strangers_bound: usize,
    /// Connections of which nothing is proved yet.
    pub(crate) handshakes: usize,
    /// How many there may be.
    pub(crate) handshakes_bound: usize,
    /// Refused, or cut for a later one, since the start.
    pub(crate) turned_away: u64,
}

impl ListenerPlaces {
    fn of((listener, counters): &Counted) -> Self {
        let usage = counters.usage();
        Self {
            listener: listener.to_string(),
            connections: usage.connections.taken,
            bound: usage.connections.bound,
            strangers: usage.strangers.taken,
            strangers_bound: usage.strangers.bound,
            handshakes: usage.handshakes.taken,
            handshakes_bound: usage.handshakes.bound,
            turned_away: usage.turned_away,
        }
    }
}

/// The connection to the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ControlPlane {
    /// The address that the stream goes to; every configured one while it is not open.
    pub(crate) address: String,
    /// The addresses that the last attempt did not reach, and why.
    #[serde(default)]
    pub(crate) unreached: Vec<UnreachedAddress>,
    /// The address of the stream before this one, and why it was left.
    #[serde(default)]
    pub(crate) left: Option<LeftAddress>,
    /// Whether the discovery stream is open.
    pub(crate) connected: bool,
    /// Since when it is or is not.
    pub(crate) since: Timestamp,
    /// Why it is not.
    pub(crate) problem: Option<String>,
}

/// The trust bundle of the own trust domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bundle {
    /// Whose.
    pub(crate) trust_domain: String,
    /// A hash of its roots.
    pub(crate) version: String,
    /// How many roots.
    pub(crate) roots: usize,
    /// Why a newer one is not installed, where one was refused.
    pub(crate) problem: Option<String>,
}

/// One entitlement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its name on this node.
    pub(crate) entitlement: String,
    /// The identity.
    pub(crate) spiffe_id: SpiffeId,
    /// Serial of the certificate that is held.
    pub(crate) serial: Option<Serial>,
    /// When that was issued.
    pub(crate) issued_at: Option<Timestamp>,
    /// Until when that is valid.
    pub(crate) not_after: Option<Timestamp>,
    /// When it is renewed.
    pub(crate) renew_at: Option<Timestamp>,
    /// Why none is held, or why the last renewal failed.
    pub(crate) problem: Option<String>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listener {
    /// Its table in the configuration.
    pub(crate) name: String,
    /// Where it listens: an address or the path of a socket.
    pub(crate) address: String,
    /// The identity that it presents, where it is one of the proxy.
    pub(crate) identity: Option<SpiffeId>,
    /// Why it does not serve; absent when it does.
    pub(crate) problem: Option<String>,
}

/// What a report is made of.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// Where the control plane is, as configured.
    pub(crate) address: String,
    /// How the connection stands.
    pub(crate) link: LinkState,
    /// What is held.
    pub(crate) snapshot: &'a Snapshot,
    /// Who was asked for.
    pub(crate) demanded: &'a BTreeSet<EntitlementId>,
    /// How many entitlements are enrolled before anybody asks for them.
    pub(crate) enrol_ahead: usize,
    /// The listeners of the proxy.
    pub(crate) listeners: &'a [Listening],
    /// The other listeners, by name and address.
    pub(crate) others: &'a [(&'static str, String)],
    /// Those that count their connections.
    pub(crate) counted: &'a [Counted],
    /// What keeps it from being ready.
    pub(crate) not_ready: Vec<String>,
    /// What is not as it should be, ready or not.
    pub(crate) degraded: Vec<String>,
}

impl Report {
    /// What is so at `now`.
    pub(crate) fn at(sources: Sources<'_>, now: Timestamp) -> Self {
        let snapshot = sources.snapshot;
        let wanted = wanted(&sources);
        let held = snapshot.entries.values();
        let remaining = held.filter_map(|h| Some(h.svid.as_ref()?.lifetime.remaining(now)));
        Self {
            at: now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            control_plane: ControlPlane {
                address: sources.link.address.unwrap_or(sources.address),
                unreached: sources.link.unreached,
                left: sources.link.left,
                connected: sources.link.connected,
                since: sources.link.since,
                problem: sources.link.problem,
            },
            bundle: snapshot.bundle.as_ref().map(|bundle| Bundle {
                trust_domain: bundle.trust_domain().as_str().to_owned(),
                version: bundle.version().to_owned(),
                roots: bundle.roots().len(),
                problem: snapshot.bundle_problem.as_deref().map(str::to_owned),
            }),
            outage_headroom_secs: remaining.min().unwrap_or_default().as_secs(),
            identities: Items {
                items: identities(snapshot, &wanted, now),
            },
            listeners: Items {
                items: listeners(
                    now,
                    snapshot,
                    sources.link.ever,
                    sources.listeners,
                    sources.others,
                ),
            },
            places: Items {
                items: sources.counted.iter().map(ListenerPlaces::of).collect(),
            },
            not_ready: sources.not_ready,
            degraded: sources.degraded,
        }
    }
}

/// What has been asked for, and what is enrolled before anybody asks.
fn wanted<'a>(sources: &Sources<'a>) -> BTreeSet<&'a EntitlementId> {
    let rights = sources.snapshot.entries.values();
    let rights = rights.map(|held| &*held.entitlement);
    let mut wanted = ahead_of_demand(rights, sources.enrol_ahead);
    wanted.extend(sources.demanded);
    wanted
}

fn identities(
    snapshot: &Snapshot,
    wanted: &BTreeSet<&EntitlementId>,
    now: Timestamp,
) -> Vec<Identity> {
    let entries = snapshot.entries.values();
    entries
        .map(|held| {
            let svid = held.svid.as_ref();
            let lifetime = svid.map(|svid| svid.lifetime);
            Identity {
                entitlement: held.entitlement.id.to_string(),
                spiffe_id: held.entitlement.spiffe_id.clone(),
                serial: svid.map(|svid| svid.serial),
                issued_at: lifetime.map(|life| life.issued_at),
                not_after: lifetime.map(|life| life.not_after),
                renew_at: svid.map(|svid| held.entitlement.renewal(&svid.serial, &svid.lifetime)),
                problem: why_not(held, wanted.contains(&held.entitlement.id), now),
            }
        })
        .collect()
}

fn why_not(held: &Held, is_wanted: bool, now: Timestamp) -> Option<String> {
    if let Some(problem) = &held.problem {
        return Some(problem.to_string());
    }
    match &held.svid {
        Some(svid) if svid.lifetime.is_expired(now) => Some(format!(
            "expired at {}",
            to_the_second(svid.lifetime.not_after)
        )),
        Some(_) => None,
        None if is_wanted => Some(JUST_ENTITLED.to_owned()),
        None => Some(NOT_DEMANDED.to_owned()),
    }
}

fn listeners(
    now: Timestamp,
    snapshot: &Snapshot,
    reached: bool,
    listening: &[Listening],
    others: &[(&'static str, String)],
) -> Vec<Listener> {
    let proxy = listening.iter().map(|listener| {
        let id = listener.identity.id();
        let problem = match snapshot.for_proxy(id) {
            None if !reached => Some(UNCONNECTED.into()),
            None => Some(NO_ENTITLEMENT.into()),
            Some(held) if held.svid.is_none() => Some(RIGHT_WITHOUT_CHAIN.into()),
            Some(_) => listener.hindrance(now),
        };
        Listener {
            name: listener.name.to_string(),
            address: listener.address.to_string(),
            identity: Some(id.clone()),
            problem: problem.map(Cow::into_owned),
        }
    });
    let others = others.iter().map(|(name, address)| Listener {
        name: (*name).to_owned(),
        address: address.clone(),
        identity: None,
        problem: None,
    });
    proxy.chain(others).collect()
}

#[cfg(test)]
mod tests;
