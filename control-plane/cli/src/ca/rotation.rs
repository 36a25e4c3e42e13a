//! `countersign ca rotation`: how the fleet lived the newest rotation of the root.

use countersign_proto::admin as wire;
use jiff::Timestamp;
use serde::Serialize;

use crate::client::time;
use crate::distance::to_the_second;
use crate::output::{Printable, cell, filled};
use crate::table::{Cell, Keep, Look, Table, Tone};

pub(super) const EXAMPLES: &str = "Examples:\n  \
    countersign ca rotation\n  \
    countersign ca rotation --json | jq -r '.lanes[] | select(.acknowledged_at == null) | .consumer'\n\n\
    It is kept in memory: a control plane that starts knows of no rotation before.";

/// The newest rotation of the root since the control plane started.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Course {
    pub(crate) old_root: Option<String>,
    pub(crate) new_root: Option<String>,
    pub(crate) bundle_version: Option<String>,
    /// Since when it is watched.
    pub(crate) since: Option<Timestamp>,
    pub(crate) activated_at: Option<Timestamp>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) lanes_more: u64,
}

/// What happened at one consumer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Lane {
    pub(crate) consumer: String,
    pub(crate) acknowledged_at: Option<Timestamp>,
    pub(crate) waived: bool,
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) sightings_more: u64,
    pub(crate) failures: Vec<Failures>,
}

/// A serial that was first seen in a handshake.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sighting {
    pub(crate) at: Option<Timestamp>,
    pub(crate) id: String,
    pub(crate) serial: String,
    /// Key identifier of the root above it.
    pub(crate) root: String,
}

/// Handshakes that failed because of a certificate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failures {
    pub(crate) until: Option<Timestamp>,
    pub(crate) count: u64,
}

impl Lane {
    /// How many serials were seen under a root. Where none was seen at all nothing is known: another kind of
    /// consumer reports no handshakes, and one that has none may hold either.
    fn serials_under(&self, root: Option<&String>) -> String {
        if self.sightings.is_empty() {
            return "unobserved".to_owned();
        }
        let seen = self.sightings.iter().filter(|it| Some(&it.root) == root);
        seen.count().to_string()
    }

    /// How many handshakes failed there.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.iter().map(|it| it.count).sum()
    }
}

pub(super) fn text(course: &Course, look: Look) -> Printable {
    let Some(new_root) = &course.new_root else {
        return "no root was replaced since the control plane started"
            .to_owned()
            .into();
    };
    let old_root = course.old_root.as_deref().unwrap_or("-");
    let since = cell(course.since.map(to_the_second));
    let end = course.activated_at.map_or_else(
        || "it does not sign yet".to_owned(),
        |at| format!("it signs since {}", to_the_second(at)),
    );
    let rows = course.lanes.iter().map(|lane| {
        let under = |root: Option<&String>| Cell::from(lane.serials_under(root));
        let acknowledged = match (lane.acknowledged_at, lane.waived) {
            (None, true) => Cell::toned("waived", Tone::Warn),
            (None, false) => Cell::toned("-", Tone::Warn),
            (Some(at), _) => to_the_second(at).into(),
        };
        let failed = lane.failed();
        let tone = if failed == 0 { Tone::Plain } else { Tone::Bad };
        [
            lane.consumer.as_str().into(),
            acknowledged,
            under(course.old_root.as_ref()),
            under(Some(new_root)),
            Cell::toned(failed.to_string(), tone),
        ]
    });
    let table = Table::new([
        ("CONSUMER", Keep::Always),
        ("ACKNOWLEDGED", Keep::Always),
        ("SERIALS OLD ROOT", Keep::Unless(2)),
        ("SERIALS NEW ROOT", Keep::Unless(1)),
        ("FAILED HANDSHAKES", Keep::Always),
    ]);
    let lanes = table.with(rows).render(look, "there was no consumer");
    let more = match course.lanes_more {
        0 => Printable::default(),
        more => format!("and {more} consumers more").into(),
    };
    let head = format!("root {old_root}\n  to {new_root}\nwatched since {since}; {end}");
    let lanes = Printable::join([lanes, more], "\n");
    Printable::join([head.into(), lanes], "\n\n")
}

impl From<wire::LastRotationResponse> for Course {
    fn from(wire: wire::LastRotationResponse) -> Self {
        Self {
            old_root: filled(wire.old_root),
            new_root: filled(wire.new_root),
            bundle_version: filled(wire.bundle_version),
            since: time(wire.since),
            activated_at: time(wire.activated_at),
            lanes: wire.lanes.into_iter().map(Lane::from).collect(),
            lanes_more: wire.lanes_more,
        }
    }
}

impl From<wire::RotationLane> for Lane {
    fn from(wire: wire::RotationLane) -> Self {
        let sightings = wire.sightings.into_iter().map(|it| Sighting {
            at: time(it.at),
            id: it.id,
            serial: it.serial,
            root: it.root,
        });
        let failures = wire.failures.into_iter().map(|it| Failures {
            until: time(it.until),
            count: it.count,
        });
        Self {
            consumer: wire.consumer,
            acknowledged_at: time(wire.acknowledged_at),
            waived: wire.waived,
            sightings: sightings.collect(),
            sightings_more: wire.sightings_more,
            failures: failures.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_saw_is_not_counted_as_none() {
        let root = |name: &str| Some(name.to_owned());
        let sighting = |root: &str| Sighting {
            at: None,
            id: String::new(),
            serial: String::new(),
            root: root.to_owned(),
        };
        let lane = |consumer: &str, sightings| Lane {
            consumer: consumer.to_owned(),
            acknowledged_at: Some(Timestamp::UNIX_EPOCH),
            waived: false,
            sightings,
            sightings_more: 0,
            failures: Vec::new(),
        };
        let course = Course {
            old_root: root("old"),
            new_root: root("new"),
            lanes: vec![
                lane("seen", vec![sighting("new"), sighting("new")]),
                lane("quiet", Vec::new()),
            ],
            ..Course::default()
        };
        let text = text(&course, Look::default()).to_string();
        let words = |consumer: &str| {
            let line = text.lines().find(|line| line.starts_with(consumer));
            let words = line.unwrap().split_whitespace().skip(2);
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words("seen"), ["0", "2", "0"], "{text}");
        assert_eq!(words("quiet"), ["unobserved", "unobserved", "0"], "{text}");
    }
}
