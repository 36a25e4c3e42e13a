//! `countersign ca status`: what is shown.

use countersign_proto::admin::{Authority, CaStatusResponse, KeyStore, Waiver};
use serde::Serialize;

use super::laggards::Laggards;
use crate::client::time;
use crate::output::{cell, table};

/// The state of a root that waits for its consumers.
const PREPARED: &str = "prepared";

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    roots: Vec<ShownAuthority>,
    intermediates: Vec<ShownAuthority>,
    issuing: Vec<ShownAuthority>,
    bundle_version: String,
    #[serde(flatten)]
    laggards: Laggards,
    waivers: Vec<ShownWaiver>,
    key_stores: Vec<ShownStore>,
    obstacles: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ShownAuthority {
    key_id: String,
    subject: String,
    state: String,
    store: String,
    not_before: Option<jiff::Timestamp>,
    not_after: Option<jiff::Timestamp>,
    issued_by: String,
    serial: String,
    renew_by: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize)]
struct ShownWaiver {
    consumer: String,
    reason: String,
    since: Option<jiff::Timestamp>,
    until: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize)]
struct ShownStore {
    store: String,
    state: String,
    reason: String,
}

pub(super) fn text(shown: &Shown) -> String {
    let mut parts = vec![
        authorities(shown),
        stores(shown),
        bundle(shown),
        waivers(shown),
    ];
    let renewals = shown.intermediates.iter().filter_map(|it| {
        let renew_by = it.renew_by?;
        Some(format!(
            "intermediate {}: import its successor by {renew_by} (ca csr, ca import)",
            it.key_id
        ))
    });
    parts.extend(renewals);
    parts.extend(
        shown
            .obstacles
            .iter()
            .map(|it| format!("cannot sign: {it}")),
    );
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn authorities(shown: &Shown) -> String {
    let row = |role: &str, it: &ShownAuthority| {
        [
            role.to_owned(),
            it.state.clone(),
            it.key_id.clone(),
            it.store.clone(),
            cell(it.not_before),
            cell(it.not_after),
            it.issued_by.clone(),
        ]
    };
    let tiers = [
        ("root", &shown.roots),
        ("intermediate", &shown.intermediates),
        ("issuing", &shown.issuing),
    ];
    let rows = tiers
        .into_iter()
        .flat_map(|(role, tier)| tier.iter().map(move |it| row(role, it)));
    table(
        [
            "ROLE",
            "STATE",
            "KEY ID",
            "STORE",
            "NOT BEFORE",
            "NOT AFTER",
            "ISSUED BY",
        ],
        rows,
        "no authority",
    )
}

fn stores(shown: &Shown) -> String {
    let rows = shown
        .key_stores
        .iter()
        .map(|it| [it.store.clone(), it.state.clone(), it.reason.clone()]);
    table(["KEY STORE", "STATE", "REASON"], rows, "")
}

fn bundle(shown: &Shown) -> String {
    if shown.bundle_version.is_empty() {
        return "no bundle yet".to_owned();
    }
    let waiting = shown.laggards.lines();
    let waiting = waiting.unwrap_or_else(|| "every live consumer has acknowledged it".to_owned());
    format!("bundle {}: {waiting}", shown.bundle_version)
}

/// How a pending root goes on without who does not acknowledge, and whom it goes on without already.
fn waivers(shown: &Shown) -> String {
    let mut parts = Vec::new();
    let is_pending = shown.roots.iter().any(|root| root.state == PREPARED);
    if let Some(command) = shown.laggards.command().filter(|_| is_pending) {
        parts.push(format!(
            "the prepared root signs once they have the bundle or have expired; without one of \
             them, for a time:\n  {command}"
        ));
    }
    let rows = shown.waivers.iter().map(|it| {
        let (consumer, reason) = (it.consumer.clone(), it.reason.clone());
        [consumer, cell(it.until), reason]
    });
    parts.push(table(["WAIVED", "UNTIL", "REASON"], rows, ""));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

impl ShownAuthority {
    /// Its state and key id, for people.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.state, self.key_id)
    }
}

impl From<CaStatusResponse> for Shown {
    fn from(wire: CaStatusResponse) -> Self {
        let shown = |it: Vec<Authority>| it.into_iter().map(ShownAuthority::from).collect();
        let key_stores = wire.key_stores.into_iter().map(ShownStore::from);
        Self {
            roots: shown(wire.roots),
            intermediates: shown(wire.intermediates),
            issuing: shown(wire.issuing),
            bundle_version: wire.bundle_version,
            laggards: Laggards::new(wire.waiting_for, wire.waiting_for_more),
            waivers: wire.waivers.into_iter().map(ShownWaiver::from).collect(),
            key_stores: key_stores.collect(),
            obstacles: wire.obstacles,
        }
    }
}

impl From<Authority> for ShownAuthority {
    fn from(wire: Authority) -> Self {
        Self {
            key_id: wire.key_id,
            subject: wire.subject,
            state: wire.state,
            store: wire.store,
            not_before: time(wire.not_before),
            not_after: time(wire.not_after),
            issued_by: wire.issued_by,
            serial: wire.serial,
            renew_by: time(wire.renew_by),
        }
    }
}

impl From<Waiver> for ShownWaiver {
    fn from(wire: Waiver) -> Self {
        Self {
            consumer: wire.consumer,
            reason: wire.reason,
            since: time(wire.since),
            until: time(wire.until),
        }
    }
}

impl From<KeyStore> for ShownStore {
    fn from(wire: KeyStore) -> Self {
        Self {
            store: wire.store,
            state: wire.state,
            reason: wire.reason,
        }
    }
}
