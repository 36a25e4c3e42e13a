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
    replica: String,
    signer: String,
    awaits_since: Option<Timestamp>,
    issues_until: Option<Timestamp>,
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
    replica: String,
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
        replica(shown, now),
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
        let role = match it.replica.as_str() {
            "" => role.to_owned(),
            replica => format!("{role} of {replica}"),
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

/// Whose key signs the issuing CA of this replica, and until when it can issue.
fn replica(shown: &Shown, now: Timestamp) -> Printable {
    if shown.replica.is_empty() {
        return Printable::default();
    }
    let signer = match shown.signer.as_str() {
        "" => "the one that has the key above them",
        own if own == shown.replica => "this one",
        other => other,
    };
    let waits = match shown.awaits_since {
        Some(since) => format!("waits for its next since {}, and ", to_the_second(since)),
        None => String::new(),
    };
    let until = match shown.issues_until {
        Some(until) => format!(
            "can issue until {} ({})",
            to_the_second(until),
            relative(until, now)
        ),
        None => "cannot issue".to_owned(),
    };
    Printable::from(format!(
        "replica {}: issuing CAs are signed by {signer}; it {waits}{until}",
        shown.replica
    ))
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
            replica: wire.replica,
            signer: wire.signer,
            awaits_since: time(wire.awaits_since),
            issues_until: time(wire.issues_until),
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
            replica: wire.replica,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl FnOnce(&mut CaStatusResponse)) -> String {
        let mut wire = CaStatusResponse {
            replica: "b".to_owned(),
            ..CaStatusResponse::default()
        };
        change(&mut wire);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        replica(&Shown::from(wire), now).to_string()
    }

    #[test]
    fn replica_tells_what_it_waits_for() {
        let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        assert_eq!(told(|it| it.replica.clear()), "");
        assert_eq!(
            told(|_| ()),
            "replica b: issuing CAs are signed by the one that has the key above them; it cannot issue"
        );
        let signs = told(|it| {
            it.signer = "b".to_owned();
            it.issues_until = Some(at(1_800_043_200));
        });
        assert_eq!(
            signs,
            "replica b: issuing CAs are signed by this one; it can issue until \
             2027-01-15T20:00:00Z (in 12 h)"
        );
        let waits = told(|it| {
            it.signer = "a".to_owned();
            it.awaits_since = Some(at(1_799_999_000));
            it.issues_until = Some(at(1_800_043_200));
        });
        assert_eq!(
            waits,
            "replica b: issuing CAs are signed by a; it waits for its next since \
             2027-01-15T07:43:20Z, and can issue until 2027-01-15T20:00:00Z (in 12 h)"
        );
    }
}
