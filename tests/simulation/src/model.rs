//! What is known from outside, and the invariants that are judged by it: what an operator was answered,
//! what each sidecar is seen to hold, and when the network and the processes were disturbed. It knows
//! nothing of what is inside.

mod consuming;
mod excused;
mod expected;
mod ledger;
mod sealed;
mod trust;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use countersign_sidecar::simulated::{Credential, Held, Right};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::operator::Key;
use consuming::Consuming;
use excused::Excused;
pub(crate) use expected::{Before, Expectations, Lag};
pub(crate) use ledger::{is_lost, judge as judge_logs};
use sealed::AllSealed;
pub(crate) use sealed::{comes_back, twice, went_on};
use watched::{Seen, Watched};

/// An invariant that did not hold.
#[derive(Debug)]
pub(crate) struct Violation {
    invariant: &'static str,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VIOLATED {}: {}", self.invariant, self.what)
    }
}

/// Fails with the invariant and what was seen.
fn holds(
    condition: bool,
    invariant: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    match condition {
        true => Ok(()),
        false => Err(Violation {
            invariant,
            what: what(),
        }),
    }
}

/// A control plane starts on whatever a power cut has left to it.
pub(crate) fn never_starts(error: &anyhow::Error) -> Violation {
    Violation {
        invariant: "it_starts_again_on_what_is_left",
        what: format!("{error:#}"),
    }
}

/// While nothing is disturbed a change arrives within this time, and what is missing is there again.
pub(crate) const SETTLES: Duration = Duration::from_secs(60);
/// A sidecar that always reached some control plane is at one that hears of everything within this time.
const MOVES: Duration = Duration::from_secs(15);
/// While a node is connected it hears of a removed right within this time.
const BOUND: Duration = Duration::from_secs(5);
/// Where nothing changes, everything is judged this often: what is late is late by much more.
const LOOKS_AT_ALL: Duration = Duration::from_secs(5);
/// Certificates say whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// What was registered, by what the operator was answered.
    pub(crate) expected: Expectations,
    nodes: BTreeMap<String, Watched>,
    /// Every certificate that was seen, by its serial.
    seen: BTreeMap<String, Seen>,
    /// Since when the control planes are not disturbed; `None` while they are.
    plane_calm: Option<Instant>,
    /// How they are.
    planes: PlaneCalm,
    /// Whether nobody was served since they were calm.
    lacked: bool,
    /// Control planes whose logs were sealed.
    sealed: AllSealed,
    /// What consumers hold, by their names.
    consuming: BTreeMap<String, Consuming>,
    /// For whom a root does not wait.
    excused: Excused,
    /// Serials of what was verified by the bundle of a version.
    accepted: BTreeSet<(String, String)>,
    /// Something happened to one of the consumers.
    is_changed: bool,
    /// When everything was judged, whether it changed or not.
    judged_at: Option<Instant>,
}

/// How the control planes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PlaneCalm {
    /// Some sidecars may reach none.
    #[default]
    NotServed,
    /// Every sidecar reaches one, which may not hear of everything.
    Impeded,
    /// Every sidecar reaches one that hears of everything.
    Served,
}

/// What is looked at.
pub(crate) struct View<'a> {
    /// SPIFFE ID of the node.
    pub(crate) node: String,
    /// How often its sidecar has been started.
    pub(crate) starts: u32,
    /// What it holds.
    pub(crate) held: &'a Held,
}

impl Model {
    /// A node, or what it is reached by, is disturbed from now on, or not any more.
    pub(crate) fn disturbed(&mut self, node: &str, is_disturbed: bool) {
        let calm = (!is_disturbed).then(Instant::now);
        self.nodes.entry(node.to_owned()).or_default().calm = calm;
    }

    /// The control planes are so from now on, and with them everybody.
    pub(crate) fn planes_are(&mut self, calm: PlaneCalm) {
        let was_served = self.planes != PlaneCalm::NotServed && calm != PlaneCalm::NotServed;
        let now = Instant::now();
        self.plane_calm = (calm == PlaneCalm::Served).then(|| match was_served && !self.lacked {
            true => now.checked_sub(SETTLES - MOVES).unwrap_or(now),
            false => now,
        });
        self.lacked = match calm {
            PlaneCalm::NotServed => true,
            PlaneCalm::Impeded => self.lacked,
            PlaneCalm::Served => false,
        };
        self.planes = calm;
    }

    /// Every certificate that was seen.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (&String, &Seen)> {
        self.seen.iter()
    }

    /// Judges what all nodes hold now.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub(crate) fn judge(&mut self, views: &[View<'_>], now: Timestamp) -> Result<(), Violation> {
        let mut is_changed = std::mem::take(&mut self.is_changed);
        let is_late = self.judged_at.is_none_or(|at| at.elapsed() >= LOOKS_AT_ALL);
        if is_late {
            self.judged_at = Some(Instant::now());
        }
        for view in views {
            is_changed |= self.judge_one(view, is_late, now)?;
        }
        match is_changed {
            true => self.trusted_by_all(views, now),
            false => Ok(()),
        }
    }

    /// Whether the root goes on without this node, until it has a certificate again.
    pub(crate) fn is_left_behind(&self, node: &str) -> bool {
        self.excused.is_left_behind(node)
    }

    /// Since when neither the node nor the control plane is disturbed.
    fn calm(&self, node: &str) -> Option<Instant> {
        if self.excused.is_left_behind(node) {
            return None;
        }
        let node = self.nodes.get(node).and_then(|watched| watched.calm)?;
        Some(node.max(self.plane_calm?))
    }

    /// Whether anything is held that was not held before.
    fn judge_one(
        &mut self,
        view: &View<'_>,
        is_late: bool,
        now: Timestamp,
    ) -> Result<bool, Violation> {
        let calm = self.calm(&view.node);
        let watched = self.nodes.entry(view.node.clone()).or_default();
        let changes = (view.held.generation(), self.expected.changes());
        if !watched.is_due((view.starts, changes), is_late || self.expected.has_young()) {
            return Ok(false);
        }
        let rights = view.held.rights();
        for right in &rights {
            self.judge_right(view, right, calm)?;
            if let Some(credential) = &right.credential {
                self.judge_credential(view, right, credential)?;
            }
        }
        self.judge_arrived(&view.node, &rights, calm)?;
        let watched = self.nodes.entry(view.node.clone()).or_default();
        watched.restarted(view.starts);
        watched.judge_stamp(&view.node, view.held.stamp())?;
        let is_changed = watched.judge_bundle(&view.node, view.held.bundle().as_deref())?;
        let is_expected = |id: &str| {
            let key = Key {
                node: view.node.clone(),
                id: id.to_owned(),
            };
            // What was removed and came back a moment later may be told one after the other.
            let since = self.expected.present_since(&key);
            id == view.node || since.is_some_and(|since| since.at.elapsed() >= 2 * SETTLES)
        };
        let before = watched.own_serial(&view.node);
        let is_newer = watched.judge_credentials(&view.node, &rights, is_expected, now)?;
        if before != watched.own_serial(&view.node) && self.excused.is_left_behind(&view.node) {
            // It is back: from here on it is one as any other.
            watched.calm = watched.calm.map(|_| Instant::now());
            self.excused.is_back(&view.node);
        }
        if calm.is_some_and(|calm| calm.elapsed() >= SETTLES) {
            self.judge_settled(&view.node, &rights, now)?;
        }
        Ok(is_changed || is_newer)
    }

    /// A right is registered, or was until a moment ago.
    fn judge_right(
        &self,
        view: &View<'_>,
        right: &Right,
        calm: Option<Instant>,
    ) -> Result<(), Violation> {
        let id = right.spiffe_id.as_str();
        if id == view.node {
            return Ok(());
        }
        let key = Key {
            node: view.node.clone(),
            id: id.to_owned(),
        };
        let told = || format!("{} is entitled to {id}", view.node);
        let is_known = self.expected.is_known(&key);
        holds(
            is_known,
            "no_identity_is_granted_beyond_its_registration",
            told,
        )?;
        let Some(absent) = self.expected.absent_since(&key) else {
            return Ok(());
        };
        // A node that was not disturbed since well before the removal was connected all the time.
        let is_connected = calm.is_some_and(|calm| absent.at >= calm + SETTLES);
        let is_late = is_connected && absent.at.elapsed() > BOUND;
        // However it was disturbed before: it has come back, and was told.
        let is_settled = calm.is_some_and(|calm| calm.elapsed() >= SETTLES);
        let is_late = is_late || is_settled && absent.at.elapsed() >= SETTLES;
        let told = || format!("{}, {:?} after its removal", told(), absent.at.elapsed());
        holds(
            !is_late,
            "a_removed_right_stops_within_the_bound_while_connected",
            told,
        )
    }

    /// What was registered a while ago is known to its node, whichever control plane acknowledged it.
    fn judge_arrived(
        &self,
        node: &str,
        rights: &[Right],
        calm: Option<Instant>,
    ) -> Result<(), Violation> {
        let Some(calm) = calm else {
            return Ok(());
        };
        // A node that was not disturbed since well before was connected all the time.
        let mut due = self
            .expected
            .present_of(node)
            .filter(|(_, since)| *since >= calm + SETTLES && since.elapsed() > BOUND);
        let is_known = |id: &str| { rights.iter() }.any(|right| right.spiffe_id.as_str() == id);
        let late = due.find(|(key, _)| !is_known(&key.id));
        holds(late.is_none(), "a_change_arrives_within_the_bound", || {
            let (key, since) = late.expect("there is one");
            format!(
                "{node} does not know of {key}, registered {:?} ago",
                since.elapsed()
            )
        })
    }

    /// A certificate is for its right, made while that was registered, and the only one of its serial.
    fn judge_credential(
        &mut self,
        view: &View<'_>,
        right: &Right,
        credential: &Credential,
    ) -> Result<(), Violation> {
        let serial = credential.serial.to_string();
        let seen = Seen::of(right, credential);
        if let Some(known) = self.seen.get(&serial) {
            let told = || format!("{serial} is the serial of two certificates");
            return holds(*known == seen, "no_serial_is_used_twice", told);
        }
        let key = Key {
            node: view.node.clone(),
            id: right.spiffe_id.to_string(),
        };
        if let Some(absent) = self.expected.absent_since(&key) {
            let issued = credential.lifetime.issued_at;
            let is_before = issued <= absent.wall + SECOND || self.excused.is_astray();
            let told = || {
                let (node, id) = (&key.node, &key.id);
                format!("{node} got {id} at {issued}, removed at {}", absent.wall)
            };
            holds(
                is_before,
                "no_identity_is_granted_beyond_its_registration",
                told,
            )?;
        }
        self.seen.insert(serial, seen);
        Ok(())
    }

    /// While nothing is disturbed everything that is registered is held, and is good.
    fn judge_settled(&self, node: &str, rights: &[Right], now: Timestamp) -> Result<(), Violation> {
        let is_good = |id: &str| {
            let mut of_id = rights.iter().filter(|right| right.spiffe_id.as_str() == id);
            of_id.any(|right| {
                let credential = right.credential.as_ref();
                credential.is_some_and(|it| it.lifetime.not_after > now)
            })
        };
        let settled = self.expected.settled_at(node);
        let mut wanted = settled.map(|key| key.id.as_str()).chain([node]);
        let missing = wanted.find(|id| !is_good(id));
        holds(
            missing.is_none(),
            "every_live_sidecar_ends_with_a_valid_credential",
            || {
                let missing = missing.unwrap_or_default();
                format!("{node} has no good credential for {missing}, undisturbed for {SETTLES:?}")
            },
        )
    }
}
