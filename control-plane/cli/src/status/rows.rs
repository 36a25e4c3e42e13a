//! The tables: identities, nodes, consumers and listeners.

use jiff::Timestamp;

use super::phrase;
use super::shape::{Consumer, Endpoint, Node, Shown};
use crate::distance::{between, relative, to_the_second};
use crate::output::Printable;
use crate::short::Short;
use crate::table::look::Look;
use crate::table::{Cell, Keep, Table, Tone};

/// Rows of one table that a person reads; more with `--all`.
pub(super) const MOST_ROWS: usize = 100;

/// How the tables are made.
#[derive(Clone, Copy)]
pub(super) struct Making {
    pub(super) now: Timestamp,
    pub(super) look: Look,
    /// Every row, however many there are.
    pub(super) all: bool,
    pub(super) serials: Short,
    pub(super) versions: Short,
}

impl Making {
    pub(super) fn of(shown: &Shown, now: Timestamp, look: Look, all: bool) -> Self {
        let endpoints = || shown.nodes.iter().flat_map(|node| &node.endpoints);
        let consumers = || shown.nodes.iter().flat_map(|node| &node.consumers);
        let serials = endpoints().flat_map(|it| [&it.wanted, &it.acknowledged, &it.served]);
        let serials = serials.flatten();
        let serials = serials.chain(consumers().flat_map(|it| &it.serials));
        let nodes = shown.nodes.iter();
        let versions = nodes.filter_map(|it| it.bundle_version_acknowledged.as_ref());
        let versions = versions.chain(consumers().filter_map(|it| it.bundle_version.as_ref()));
        let versions = versions.chain(&shown.bundle_version);
        Self {
            now,
            look,
            all,
            serials: Short::of(serials.map(String::as_str), look),
            versions: Short::of(versions.map(String::as_str), look),
        }
    }

    pub(super) fn when(&self, at: Option<Timestamp>) -> String {
        match at {
            None => "-".to_owned(),
            Some(at) if self.look.wide => to_the_second(at),
            Some(at) => relative(at, self.now),
        }
    }

    /// A version of the bundle: the newest is called so.
    fn bundle(&self, version: Option<&String>, newest: Option<&String>) -> Cell {
        let Some(version) = version else {
            return Cell::toned("none", Tone::Warn);
        };
        let short = self.versions.short(version);
        if Some(version) == newest {
            Cell::toned(format!("{short} newest"), Tone::Good)
        } else {
            Cell::toned(format!("{short} old"), Tone::Warn)
        }
    }

    /// As many rows as are shown: where there are too many, those that need attention come first. And how
    /// many are left out.
    fn cut<T>(&self, mut rows: Vec<T>, needs_attention: impl Fn(&T) -> bool) -> (Vec<T>, usize) {
        if self.all || rows.len() <= MOST_ROWS {
            return (rows, 0);
        }
        rows.sort_by_key(|row| !needs_attention(row));
        let left_out = rows.len() - MOST_ROWS;
        rows.truncate(MOST_ROWS);
        (rows, left_out)
    }

    fn rest(&self, table: Printable, left_out: usize) -> Printable {
        let more = match left_out {
            0 => Printable::default(),
            more => Printable::from(format!(
                "{more} more rows: --all shows them; --problems, --node and --id choose"
            )),
        };
        Printable::join([table, more], "\n")
    }
}

pub(super) fn endpoints(shown: &Shown, making: &Making) -> Printable {
    let nodes = shown.nodes.iter();
    let rows = nodes.flat_map(|node| node.endpoints.iter().map(move |it| (node, it)));
    let mut rows: Vec<(&Node, &Endpoint)> = rows.collect();
    rows.sort_by(|(a_node, a), (b_node, b)| (&a.id, &a_node.id).cmp(&(&b.id, &b_node.id)));
    let (rows, left_out) = making.cut(rows, |(_, it)| it.needs_attention);
    let row = |(node, it): (&Node, &Endpoint)| {
        let said = phrase::endpoint(it, making.now);
        let serial = |serial: &Option<String>| making.serials.cell(serial.as_ref());
        let served = match &it.served {
            Some(served) => making.serials.short(served),
            None => "unobserved".to_owned(),
        };
        [
            it.id.as_str().into(),
            node.id.as_str().into(),
            Cell::toned(said, phrase::tone(&it.state, it.needs_attention)),
            it.owner.clone().into(),
            serial(&it.wanted).into(),
            serial(&it.acknowledged).into(),
            served.into(),
            making.when(it.not_after).into(),
            making.when(it.issued_at).into(),
            making.when(it.renewal_due).into(),
            it.criticality.clone().into(),
            it.entitlement.as_str().into(),
        ]
    };
    let table = Table::new([
        ("IDENTITY", Keep::Always),
        ("NODE", Keep::Always),
        ("STATE", Keep::Always),
        ("OWNER", Keep::Unless(3)),
        ("WANTED", Keep::Unless(4)),
        ("ACKNOWLEDGED", Keep::Unless(5)),
        ("SERVED", Keep::Unless(6)),
        ("ENDS", Keep::Unless(2)),
        ("ISSUED", Keep::Wide),
        ("RENEWAL", Keep::Wide),
        ("CRITICALITY", Keep::Wide),
        ("ENTITLEMENT", Keep::Wide),
    ]);
    let table = table.with(rows.into_iter().map(row));
    making.rest(table.render(making.look, "no identity"), left_out)
}

pub(super) fn nodes(shown: &Shown, making: &Making) -> Printable {
    let (rows, left_out) = making.cut(shown.nodes.iter().collect(), |it| it.needs_attention);
    let row = |it: &Node| {
        let consumers = it.consumers.len() as u64 + it.consumers_more;
        [
            it.id.as_str().into(),
            Cell::toned(
                phrase::node(it, making.now),
                phrase::tone(&it.state, it.needs_attention),
            ),
            match &it.replica {
                // It is known there.
                Some(replica) => format!("see {replica}").into(),
                None => making.bundle(
                    it.bundle_version_acknowledged.as_ref(),
                    shown.bundle_version.as_ref(),
                ),
            },
            making.when(it.credential_not_after).into(),
            consumers.to_string().into(),
            making.when(it.attested_at).into(),
            it.reason.clone().into(),
        ]
    };
    let table = Table::new([
        ("NODE", Keep::Always),
        ("STATE", Keep::Always),
        ("BUNDLE", Keep::Unless(1)),
        ("LAST CREDENTIAL ENDS", Keep::Unless(3)),
        ("CONSUMERS", Keep::Unless(2)),
        ("ATTESTED", Keep::Wide),
        ("REASON", Keep::Wide),
    ]);
    let table = table.with(rows.into_iter().map(row));
    making.rest(table.render(making.look, "no node"), left_out)
}

/// Nothing where nobody is known.
pub(super) fn consumers(shown: &Shown, making: &Making) -> Printable {
    let newest = shown.bundle_version.as_ref();
    let nodes = shown.nodes.iter();
    let rows = nodes.flat_map(|node| node.consumers.iter().map(move |it| (node, it)));
    let is_behind = |it: &Consumer| it.validates && it.bundle_version.as_ref() != newest;
    let (rows, left_out) = making.cut(rows.collect(), |(_, it): &(&Node, &Consumer)| is_behind(it));
    let row = |(node, it): (&Node, &Consumer)| {
        let bundle = match it.validates {
            true => making.bundle(it.bundle_version.as_ref(), newest),
            false => "takes none".into(),
        };
        let serials = it.serials.iter().map(|it| making.serials.short(it));
        let serials = Some(serials.collect::<Vec<_>>().join(" "));
        let stream = if it.connected { "open" } else { "closed" };
        let stream = match it.since {
            Some(since) => format!("{stream} for {}", between(since, making.now)),
            None => stream.to_owned(),
        };
        let tone = if it.connected { Tone::Good } else { Tone::Warn };
        [
            it.id.as_str().into(),
            node.id.as_str().into(),
            bundle,
            serials.filter(|it| !it.is_empty()).into(),
            Cell::toned(stream, tone),
            it.kind.as_str().into(),
            it.resource.clone().into(),
            making.when(it.bundle_since).into(),
        ]
    };
    let table = Table::new([
        ("CONSUMER", Keep::Always),
        ("NODE", Keep::Always),
        ("BUNDLE", Keep::Always),
        ("CERTIFICATES", Keep::Unless(2)),
        ("STREAM", Keep::Unless(1)),
        ("KIND", Keep::Wide),
        ("RESOURCE", Keep::Wide),
        ("HAS IT SINCE", Keep::Wide),
    ]);
    let table = table.with(rows.into_iter().map(row));
    making.rest(table.render(making.look, ""), left_out)
}
