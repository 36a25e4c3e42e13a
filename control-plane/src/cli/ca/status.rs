//! `countersign ca status`: what is shown.

use countersign_proto::admin::{Authority, CaStatusResponse, KeyStore};
use serde::Serialize;

use crate::cli::client::time;
use crate::cli::output::{cell, table};

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    roots: Vec<ShownAuthority>,
    intermediates: Vec<ShownAuthority>,
    issuing: Vec<ShownAuthority>,
    bundle_version: String,
    waiting_for: Vec<String>,
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
struct ShownStore {
    store: String,
    state: String,
    reason: String,
}

pub(super) fn text(shown: &Shown) -> String {
    let mut parts = vec![authorities(shown), stores(shown), bundle(shown)];
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
    let waiting = match shown.waiting_for.as_slice() {
        [] => "every live consumer has acknowledged it".to_owned(),
        waiting => format!("waiting for {}", waiting.join(", ")),
    };
    format!("bundle {}: {waiting}", shown.bundle_version)
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
            waiting_for: wire.waiting_for,
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

impl From<KeyStore> for ShownStore {
    fn from(wire: KeyStore) -> Self {
        Self {
            store: wire.store,
            state: wire.state,
            reason: wire.reason,
        }
    }
}
