//! A control plane of those that share a database, as `replica list` and `status` show it: its row, and what
//! to do where somebody has to look at it.

use countersign_proto::admin::Replica;
use jiff::Timestamp;
use serde::Serialize;

use crate::called::Called;
use crate::client::time;
use crate::distance::{between, length, relative, to_the_second};
use crate::output::{Printable, filled, many};
use crate::short::Short;
use crate::table::{Cell, Keep, Look, Table, Tone};

/// One of them. What it writes of itself is absent until it has.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// invited, joined or sealed.
    state: String,
    answers: bool,
    log_id: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    issuing_ca: Option<String>,
    issuing_ca_not_after: Option<Timestamp>,
    version: Option<String>,
    sequence: Option<u64>,
    streams: Option<u64>,
    last_seen: Option<Timestamp>,
    address: Option<String>,
    /// Whether it has the key above issuing CAs.
    certifies: Option<bool>,
    /// Whether it removes what only time ends.
    ends_by_time: bool,
    /// How it stands, and since when.
    pub(crate) standing: String,
    standing_since: Option<Timestamp>,
    pub(crate) needs_attention: bool,
    /// In commits, when it was last heard of.
    lag: Option<u64>,
    clock_ahead_secs: Option<i64>,
    sealing: Option<Sealing>,
    /// The level that it speaks.
    speaks: Option<i32>,
}

/// How far the seal of its log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sealing {
    pub(crate) entries: u64,
    pub(crate) of: u64,
}

impl Sealing {
    pub(crate) fn of(wire: &Replica) -> Option<Self> {
        let entries = wire.sealed_entries?;
        let of = wire.sealed_of?;
        Some(Self { entries, of })
    }
}

impl From<Replica> for Row {
    fn from(wire: Replica) -> Self {
        Self {
            sealing: Sealing::of(&wire),
            name: wire.name,
            state: wire.state,
            answers: wire.answers,
            log_id: wire.log_id.map(|id| format!("{id:06x}")),
            since: time(wire.since),
            until: time(wire.until),
            issuing_ca: filled(wire.issuing_ca),
            issuing_ca_not_after: time(wire.issuing_ca_not_after),
            version: wire.version,
            sequence: wire.sequence,
            streams: wire.streams,
            last_seen: time(wire.last_seen),
            address: wire.address,
            certifies: wire.certifies,
            ends_by_time: wire.ends_by_time,
            standing: wire.standing,
            standing_since: time(wire.standing_since),
            needs_attention: wire.needs_attention,
            lag: wire.lag,
            clock_ahead_secs: wire.clock_ahead_secs,
            speaks: wire.speaks,
        }
    }
}

impl Row {
    /// How it stands, in words.
    pub(crate) fn standing(&self, now: Timestamp) -> String {
        let since = |what: &str| match self.standing_since {
            Some(since) => format!("{what} for {}", between(since, now)),
            None => what.to_owned(),
        };
        let at = |what: &str| match self.standing_since {
            Some(at) => format!("{what} {}", relative(at, now)),
            None => what.to_owned(),
        };
        match self.standing.as_str() {
            "invited" => match self.standing_since {
                Some(until) => format!("invited, {} left", between(now, until)),
                None => "invited".to_owned(),
            },
            "invitation_over" => at("invitation over"),
            "sealed" => at("sealed"),
            "live" => "live".to_owned(),
            "clock_differs" => self.clock().unwrap_or_else(|| "clock differs".to_owned()),
            "without_issuing_ca" => since("no issuing CA"),
            "behind" => format!(
                "{} behind",
                many(self.lag.unwrap_or_default(), "commit", "commits")
            ),
            "fenced" => match self.sealing {
                Some(Sealing { entries, of }) if of > 0 => {
                    format!("being sealed: {entries} of {of} entries")
                }
                Some(_) => "being sealed".to_owned(),
                None => since("seal not finished"),
            },
            // Of a newer control plane, silent and joining too.
            other => since(&other.replace('_', " ")),
        }
    }

    fn clock(&self) -> Option<String> {
        Some(match self.clock_ahead_secs? {
            ahead @ 0.. => format!("clock {} ahead", length(ahead.unsigned_abs())),
            behind => format!("clock {} behind", length(behind.unsigned_abs())),
        })
    }

    fn tone(&self) -> Tone {
        match self.standing.as_str() {
            _ if self.needs_attention => Tone::Bad,
            "live" => Tone::Good,
            "invitation_over" => Tone::Bad,
            "sealed" => Tone::Plain,
            _ => Tone::Warn,
        }
    }

    /// What it does beside what all do. There is no leader, so none is shown.
    fn role(&self) -> Option<String> {
        let roles = [
            (self.certifies == Some(true), "certifies CAs"),
            (self.ends_by_time, "ends by time"),
        ];
        let roles = roles.into_iter().filter(|(is_so, _)| *is_so);
        filled(roles.map(|(_, word)| word).collect::<Vec<_>>().join(", "))
    }

    fn name(&self) -> String {
        match self.answers {
            true => format!("{} (answers)", self.name),
            false => self.name.clone(),
        }
    }

    /// What mends it: a command a line.
    pub(crate) fn commands(&self, called: &Called) -> Vec<String> {
        let (name, ours) = (&self.name, |verb: &str| called.command(verb));
        match self.standing.as_str() {
            "silent" | "joining" => vec![
                "systemctl start countersign-control-plane    # on its machine".to_owned(),
                format!(
                    "{}    # where it is gone for good",
                    ours(&format!("replica seal --name {name}"))
                ),
            ],
            "fenced" => vec![ours(&format!("replica seal --name {name}"))],
            "clock_differs" => vec!["timedatectl    # on each of the two machines".to_owned()],
            "without_issuing_ca" => vec![ours("ca status")],
            _ => vec!["journalctl -u countersign-control-plane    # on its machine".to_owned()],
        }
    }
}

/// The table of all of them.
pub(crate) fn table(items: &[Row], now: Timestamp, look: Look, none: &str) -> Printable {
    let keys = items.iter().filter_map(|it| it.issuing_ca.as_deref());
    let short = Short::of(keys, look);
    let when = |at: Option<Timestamp>| {
        at.map(|at| match look.wide {
            true => to_the_second(at),
            false => relative(at, now),
        })
    };
    let rows = items.iter().map(|it| {
        [
            it.name().into(),
            Cell::toned(it.standing(now), it.tone()),
            it.streams.into(),
            it.lag.into(),
            short.cell(it.issuing_ca.as_ref()).into(),
            when(it.issuing_ca_not_after).into(),
            it.role().into(),
            it.version.clone().into(),
            when(it.last_seen).into(),
            it.log_id.clone().into(),
            it.sequence.into(),
            it.speaks.into(),
            it.clock().into(),
            it.address.clone().into(),
            when(it.since).into(),
        ]
    });
    let table = Table::new([
        ("REPLICA", Keep::Always),
        ("STATE", Keep::Always),
        ("STREAMS", Keep::Unless(2)),
        ("LAG", Keep::Unless(3)),
        ("ISSUING CA", Keep::Unless(6)),
        ("ENDS", Keep::Unless(1)),
        ("ROLE", Keep::Unless(4)),
        ("VERSION", Keep::Unless(5)),
        ("LAST SEEN", Keep::Unless(7)),
        ("LOG", Keep::Unless(8)),
        ("SEQUENCE", Keep::Wide),
        ("SPEAKS", Keep::Wide),
        ("CLOCK", Keep::Wide),
        ("ADDRESS", Keep::Wide),
        ("SINCE", Keep::Wide),
    ]);
    table.with(rows).render(look, none)
}
