//! `countersign ca status`: what is shown.

use countersign_proto::admin::{Authority, CaStatusResponse, KeyStore, Waiver};
use jiff::Timestamp;
use serde::Serialize;

use super::laggards::Laggards;
use crate::called::Called;
use crate::client::time;
use crate::distance::{relative, to_the_second};
use crate::output::{Printable, count};
use crate::short::Short;
use crate::table::{Cell, Keep, Look, Table, Tone};

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
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    issued_by: String,
    serial: String,
    renew_by: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct ShownWaiver {
    consumer: String,
    reason: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct ShownStore {
    store: String,
    state: String,
    reason: String,
}

pub(super) fn text(shown: &Shown, now: Timestamp, look: Look, called: &Called) -> Printable {
    let mut parts = vec![
        authorities(shown, now, look),
        stores(shown, look),
        bundle(shown, now, look),
        without(shown, now, called),
        waivers(shown, now, look),
    ];
    let renewals = shown.intermediates.iter().filter_map(|it| {
        let renew_by = to_the_second(it.renew_by?);
        let [csr, import] = ["ca csr", "ca import"].map(|verb| called.command(verb));
        Some(format!(
            "intermediate {}: import its successor by {renew_by}\n  {csr} --out intermediate.csr\n  \
             {import} --chain intermediate.pem --root root.pem",
            it.key_id
        ))
    });
    let obstacles = shown.obstacles.iter();
    let obstacles = obstacles.map(|it| format!("cannot sign: {}", called.completed(it)));
    parts.extend(renewals.chain(obstacles).map(Printable::from));
    Printable::join(parts, "\n\n")
}

fn authorities(shown: &Shown, now: Timestamp, look: Look) -> Printable {
    let tiers = [
        ("root", &shown.roots),
        ("intermediate", &shown.intermediates),
        ("issuing", &shown.issuing),
    ];
    let all = tiers.iter().flat_map(|(_, tier)| tier.iter());
    let keys = all.flat_map(|it| [it.key_id.as_str(), it.issued_by.as_str()]);
    let short = Short::of(keys, look);
    let row = |role: &str, it: &ShownAuthority| {
        let tone = match it.state.as_str() {
            "active" => Tone::Good,
            PREPARED => Tone::Warn,
            _ => Tone::Plain,
        };
        [
            role.into(),
            Cell::toned(it.state.clone(), tone),
            short.short(&it.key_id).into(),
            it.store.as_str().into(),
            it.not_before.map(to_the_second).into(),
            it.not_after.map(to_the_second).into(),
            it.not_after.map(|end| relative(end, now)).into(),
            short.short(&it.issued_by).into(),
            it.serial.as_str().into(),
            it.subject.as_str().into(),
        ]
    };
    let rows = tiers
        .into_iter()
        .flat_map(|(role, tier)| tier.iter().map(move |it| row(role, it)));
    let table = Table::new([
        ("ROLE", Keep::Always),
        ("STATE", Keep::Always),
        ("KEY ID", Keep::Always),
        ("STORE", Keep::Unless(2)),
        ("NOT BEFORE", Keep::Unless(5)),
        ("NOT AFTER", Keep::Unless(3)),
        ("ENDS", Keep::Always),
        ("ISSUED BY", Keep::Unless(4)),
        ("SERIAL", Keep::Wide),
        ("SUBJECT", Keep::Wide),
    ]);
    table.with(rows).render(look, "no authority")
}

fn stores(shown: &Shown, look: Look) -> Printable {
    let rows = shown.key_stores.iter().map(|it| {
        let tone = if it.state == "ready" {
            Tone::Good
        } else {
            Tone::Bad
        };
        [
            it.store.as_str().into(),
            Cell::toned(it.state.clone(), tone),
            it.reason.as_str().into(),
        ]
    });
    let table = Table::new([
        ("KEY STORE", Keep::Always),
        ("STATE", Keep::Always),
        ("REASON", Keep::Always),
    ]);
    table.with(rows).render(look, "")
}

fn bundle(shown: &Shown, now: Timestamp, look: Look) -> Printable {
    if shown.bundle_version.is_empty() {
        return "no bundle yet".to_owned().into();
    }
    let version = Short::of([shown.bundle_version.as_str()], look).short(&shown.bundle_version);
    let said = match shown.laggards.count() {
        0 => "every live consumer has acknowledged it".to_owned(),
        waiting => format!(
            "{} did not acknowledge it yet",
            count(waiting, "live consumer")
        ),
    };
    let said = format!("bundle {version}: {said}").into();
    Printable::join([said, shown.laggards.table(now, look)], "\n\n")
}

/// How a pending root goes on without who does not acknowledge.
fn without(shown: &Shown, now: Timestamp, called: &Called) -> Printable {
    let is_pending = shown.roots.iter().any(|root| root.state == PREPARED);
    if !is_pending || shown.laggards.count() == 0 {
        return Printable::default();
    }
    let until = shown.laggards.until(now);
    let commands = shown.laggards.commands(called).join("\n  ");
    Printable::from(format!(
        "the prepared root waits for them, {until}\nwithout one of them, for a time:\n  {commands}"
    ))
}

/// Whom a pending root goes on without already.
fn waivers(shown: &Shown, now: Timestamp, look: Look) -> Printable {
    let rows = shown.waivers.iter().map(|it| {
        [
            it.consumer.as_str().into(),
            it.until.map(|until| relative(until, now)).into(),
            it.reason.as_str().into(),
        ]
    });
    let table = Table::new([
        ("WAIVED", Keep::Always),
        ("ENDS", Keep::Always),
        ("REASON", Keep::Always),
    ]);
    table.with(rows).render(look, "")
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
            laggards: Laggards::of(wire.laggards, wire.waiting_for_more),
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
