//! Attestations that were refused: those of the last hour for people, all that are told in JSON.

use std::collections::BTreeMap;

use countersign_model::SpiffeId;
use countersign_proto::admin as wire;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::rows::Making;
use crate::called::Called;
use crate::client::time;
use crate::output::{Printable, filled};
use crate::table::text::folded;
use crate::table::{Cell, Keep, Table, Tone};

/// How long ago a refusal is of use to who looks why a node does not come up.
const LATELY: SignedDuration = SignedDuration::from_hours(1);
/// Rows that a person reads above everything else; more with `--all`. Strangers can cause many.
const MOST_ROWS: usize = 10;

/// The newest first.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RefusedAttestations {
    pub(super) items: Vec<RefusedAttestation>,
    /// How many refusals are not told any more.
    pub(super) dropped: u64,
    /// When the newest of those was.
    pub(super) dropped_last: Option<Timestamp>,
}

/// Refusals of one source with the same evidence for the same reason.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RefusedAttestation {
    /// The node, where the evidence proves which.
    pub(super) node: Option<String>,
    pub(super) address: String,
    pub(super) method: String,
    pub(super) code: String,
    pub(super) reason: String,
    pub(super) remedy: String,
    pub(super) count: u64,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
}

impl RefusedAttestations {
    /// Whether any is told of this node.
    pub(super) fn names(&self, node: &SpiffeId) -> bool {
        let mut nodes = self.items.iter().filter_map(|it| it.node.as_ref());
        nodes.any(|it| it == node.as_str())
    }
}

/// Nothing where none was refused in the last hour. A node that is proven comes first: anybody can
/// be refused without one, again and again.
pub(super) fn table(refused: &RefusedAttestations, making: &Making, called: &Called) -> Printable {
    let is_late =
        |at: Option<Timestamp>| at.is_some_and(|at| making.now.duration_since(at) <= LATELY);
    let mut rows: Vec<_> = refused.items.iter().filter(|it| is_late(it.last)).collect();
    rows.sort_by_key(|it| it.node.is_none());
    let most = if making.all { rows.len() } else { MOST_ROWS };
    let left_out = rows.len().saturating_sub(most);
    rows.truncate(most);
    let more = (left_out > 0).then(|| format!("{left_out} more rows: --all shows them"));
    let dropped = is_late(refused.dropped_last).then(|| {
        let dropped = refused.dropped;
        format!(
            "{dropped} more refusals since the start are not told: newer ones took their places"
        )
    });
    let below = remedies(&rows, called)
        .into_iter()
        .chain(more)
        .chain(dropped);
    let below = below.flat_map(|line| folded(&line, "- ", Tone::Plain, making.look));
    let table = Table::new([
        ("REFUSED ATTESTATION OF", Keep::Always),
        ("FROM", Keep::Unless(1)),
        ("WHY", Keep::Always),
        ("TIMES", Keep::Unless(2)),
        ("LAST", Keep::Always),
        ("FIRST", Keep::Wide),
        ("METHOD", Keep::Wide),
        ("REASON", Keep::Wide),
    ]);
    let table = table.with(rows.into_iter().map(|it| row(it, making)));
    Printable::join(
        [table.render(making.look, "")].into_iter().chain(below),
        "\n",
    )
}

fn row(it: &RefusedAttestation, making: &Making) -> [Cell; 8] {
    let node = it.node.as_deref().unwrap_or("no proven node");
    [
        node.into(),
        it.address.as_str().into(),
        Cell::toned(it.code.as_str(), Tone::Warn),
        it.count.to_string().into(),
        making.when(it.last).into(),
        making.when(it.first).into(),
        it.method.as_str().into(),
        it.reason.as_str().into(),
    ]
}

/// What mends them: each remedy once, behind its codes.
fn remedies(rows: &[&RefusedAttestation], called: &Called) -> Vec<String> {
    let mut codes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for it in rows {
        let of = codes.entry(&it.remedy).or_default();
        if !of.contains(&it.code.as_str()) {
            of.push(&it.code);
        }
    }
    let line = |(remedy, codes): (&str, Vec<&str>)| {
        format!("{}: {}", codes.join(", "), called.completed(remedy))
    };
    codes.into_iter().map(line).collect()
}

impl From<wire::RefusedAttestations> for RefusedAttestations {
    fn from(wire: wire::RefusedAttestations) -> Self {
        let items = wire.items.into_iter();
        Self {
            items: items.map(RefusedAttestation::from).collect(),
            dropped: wire.dropped,
            dropped_last: time(wire.dropped_last),
        }
    }
}

impl From<wire::RefusedAttestation> for RefusedAttestation {
    fn from(wire: wire::RefusedAttestation) -> Self {
        Self {
            node: filled(wire.node),
            address: wire.address,
            method: wire.method,
            code: wire.code,
            reason: wire.reason,
            remedy: wire.remedy,
            count: wire.count,
            first: time(wire.first),
            last: time(wire.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Shown;
    use crate::table::look::Look;

    const B: &str = "spiffe://example.org/node/b";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    /// So many refusals, the last of them so many seconds before the status.
    fn refused(node: Option<&str>, code: &str, count: u64, ago: i64) -> RefusedAttestation {
        RefusedAttestation {
            node: node.map(str::to_owned),
            address: "192.0.2.7".to_owned(),
            method: "join_token".to_owned(),
            code: code.to_owned(),
            reason: "this is why".to_owned(),
            remedy: "make a new token with `countersign token create`".to_owned(),
            count,
            first: Some(at(-9_000)),
            last: Some(at(-ago)),
        }
    }

    fn shown(refused: &RefusedAttestations, look: Look, all: bool) -> String {
        let making = Making::of(&Shown::default(), at(0), look, all);
        table(refused, &making, &Called::default()).to_string()
    }

    fn at_width(width: usize) -> Look {
        let width = Some(width);
        Look {
            width,
            ..Look::default()
        }
    }

    #[test]
    fn refusals_of_the_last_hour_are_told_in_short() {
        let refused = RefusedAttestations {
            items: vec![
                refused(None, "token_unknown", 2, 3),
                refused(Some(B), "token_expired", 17, 240),
                refused(Some(B), "token_used", 1, 3_601),
            ],
            ..RefusedAttestations::default()
        };
        let text = shown(&refused, at_width(100), false);
        let expected = "\
REFUSED ATTESTATION OF       FROM       WHY            TIMES  LAST
spiffe://example.org/node/b  192.0.2.7  token_expired  17     4 min ago
no proven node               192.0.2.7  token_unknown  2      3 s ago
- token_expired, token_unknown: make a new token with `countersign token create`";
        assert_eq!(text, expected, "{text}");
        let narrow = shown(&refused, at_width(60), false);
        assert!(narrow.lines().all(|line| line.len() <= 60), "{narrow}");
        let wide = Look {
            wide: true,
            ..Look::default()
        };
        assert!(shown(&refused, wide, false).contains("this is why"));
    }

    #[test]
    fn strangers_fill_no_screen() {
        let items = (0..128).map(|n| refused(None, "token_unknown", 1, n));
        let refused = RefusedAttestations {
            items: items
                .chain([refused(Some(B), "token_used", 1, 500)])
                .collect(),
            dropped: 4_000,
            dropped_last: Some(at(-9)),
        };
        let text = shown(&refused, at_width(100), false);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with(B), "{text}");
        assert_eq!(lines.len(), 1 + MOST_ROWS + 3, "{text}");
        assert!(
            text.contains("119 more rows: --all") && text.contains("4000 more"),
            "{text}"
        );
        assert_eq!(
            shown(&refused, at_width(100), true).lines().count(),
            1 + 129 + 2
        );
    }

    #[test]
    fn a_quiet_hour_shows_no_refusals() {
        let mut refused = RefusedAttestations {
            items: vec![refused(None, "token_unknown", 2, 3_601)],
            dropped: 7,
            dropped_last: Some(at(-4_000)),
        };
        assert_eq!(shown(&refused, at_width(100), false), "");
        refused.dropped_last = None;
        refused.items.clear();
        assert_eq!(shown(&refused, at_width(100), true), "");
    }

    #[test]
    fn nothing_of_a_refusal_steers_the_terminal() {
        let evil = "\x1b[2J\u{202e}\n";
        let hostile = RefusedAttestation {
            address: evil.to_owned(),
            method: evil.to_owned(),
            reason: evil.to_owned(),
            remedy: evil.to_owned(),
            ..refused(Some(evil), evil, 1, 3)
        };
        let items = vec![hostile];
        let refused = RefusedAttestations {
            items,
            ..RefusedAttestations::default()
        };
        let wide = Look {
            wide: true,
            ..Look::default()
        };
        let text = shown(&refused, wide, false);
        let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(is_bad), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
