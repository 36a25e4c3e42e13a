//! What consumers on the nodes hold, by what happened to each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_verify::TrustBundle;
use jiff::Timestamp;
use tokio::time::Instant;

use super::expected::Expectations;
use super::watched::Seen;
use super::{BOUND, Model, SETTLES, Violation, holds};
use crate::consumer::{Consumer, Event, Kind, SLOWEST, Taken};
use crate::operator::{Key, uid_of};

/// A consumer that is connected hears of a removed right within this time.
const HEARS: Duration = Duration::from_secs(BOUND.as_secs() + 2 * SLOWEST.as_secs());

/// Within this time the control plane is told of a consumer, where nothing is disturbed.
const REPORTED: Duration = Duration::from_secs(2);

/// What one consumer holds.
#[derive(Debug, Default)]
pub(super) struct Consuming {
    held: BTreeMap<String, Taken>,
    bundle: Option<Arc<TrustBundle>>,
    /// Since when it is.
    connected: Option<Instant>,
    /// It has taken a bundle on this connection.
    is_told: bool,
    /// Until when what the control plane was told of it counts.
    reported: Option<Timestamp>,
}

impl Consuming {
    pub(super) fn held(&self) -> impl Iterator<Item = (&String, &Taken)> {
        self.held.iter()
    }

    /// The bundle by which it judges others, where it is one for whom a root waits: the control plane was
    /// told of it, and a credential that it was known to have is good.
    fn live_bundle(&self, now: Timestamp) -> Option<Arc<TrustBundle>> {
        self.bundle.clone().filter(|_| self.reported > Some(now))
    }

    /// It is connected, and nothing is in the way of a report.
    fn report(&mut self) {
        let is_old = self
            .connected
            .is_some_and(|since| since.elapsed() >= REPORTED);
        if is_old && self.is_told {
            self.reported = self.held.values().map(|taken| taken.not_after).max();
        }
    }
}

impl Model {
    /// Judges what happened to a consumer on a node.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub(crate) fn judge_consumer(
        &mut self,
        node: &str,
        consumer: &Consumer,
        now: Timestamp,
    ) -> Result<(), Violation> {
        for (at, event) in consumer.events() {
            self.is_changed = true;
            self.judge_event((node, consumer), (at, event), now)?;
        }
        if let Some(calm) = self.calm(node)
            && let Some(consuming) = self.consuming.get_mut(&consumer.name)
        {
            if calm.elapsed() >= REPORTED {
                consuming.report();
            }
            consuming.judge_rest(&self.expected, (node, consumer), calm)?;
        }
        Ok(())
    }

    fn judge_event(
        &mut self,
        (node, consumer): (&str, &Consumer),
        (at, event): (Instant, Event),
        now: Timestamp,
    ) -> Result<(), Violation> {
        let name = &consumer.name;
        match event {
            Event::Took(id, taken) => {
                self.judge_taken((node, consumer), &id, &taken, now)?;
                let consuming = self.consuming.entry(name.clone()).or_default();
                consuming.take(name, id, taken)?;
            }
            Event::Lost(id) => {
                let consuming = self.consuming.entry(name.clone()).or_default();
                let before = consuming.held.remove(&id);
                let key = Key::of(node, &id);
                let present = self.expected.present_since(&key);
                // What was registered again since it was made is another right.
                let is_of_present =
                    |taken: &Taken| present.is_some_and(|present| present.wall <= taken.issued_at);
                let is_good =
                    before.is_some_and(|taken| taken.not_after > now && is_of_present(&taken));
                let told = || format!("{name} lost {id}, which is registered and was good");
                let is_wrong = is_good && !self.excused.misjudges(node);
                holds(!is_wrong, "absence_is_not_removal", told)?;
            }
            Event::Trusts(bundle) => {
                let consuming = self.consuming.entry(name.clone()).or_default();
                consuming.bundle = Some(bundle);
                consuming.is_told = true;
                self.excused.again(&full_name(name));
            }
            Event::Unusable(why) => {
                let told = || format!("{name} was given what it cannot use: {why}");
                let invariant = "a_good_credential_is_never_replaced_by_a_failure";
                holds(false, invariant, told)?;
            }
            Event::Connected | Event::Disconnected => {
                let consuming = self.consuming.entry(name.clone()).or_default();
                consuming.connected = matches!(event, Event::Connected).then_some(at);
                consuming.is_told = false;
            }
            Event::Forgot => drop(self.consuming.remove(name)),
            Event::Refused => {}
        }
        Ok(())
    }

    /// The sidecar of a node ended while its disk took nothing: the next one may not know these consumers.
    pub(crate) fn may_be_forgotten(&mut self, consumers: &[Consumer]) {
        for consumer in consumers {
            if let Some(consuming) = self.consuming.get_mut(&consumer.name) {
                consuming.reported = None;
            }
        }
    }

    /// It may have it, and it was issued.
    fn judge_taken(
        &mut self,
        (node, consumer): (&str, &Consumer),
        id: &str,
        taken: &Taken,
        now: Timestamp,
    ) -> Result<(), Violation> {
        let name = &consumer.name;
        let key = Key::of(node, id);
        let may_have = self.expected.is_known(&key) && uid_of(id) == consumer.uid;
        holds(
            may_have,
            "no_identity_is_granted_beyond_its_registration",
            || format!("{name} was given {id}"),
        )?;
        holds(
            taken.not_after > now || self.excused.misjudges(node),
            "a_good_credential_is_never_replaced_by_a_failure",
            || format!("{name} was given {id}, which ended at {}", taken.not_after),
        )?;
        let serial = taken.serial.to_string();
        let seen = Seen::of_chain(id, &taken.chain, &taken.serial);
        match self.seen.get(&serial) {
            Some(known) => holds(*known == seen, "no_serial_is_used_twice", || {
                format!("{serial} is the serial of two certificates")
            }),
            None => {
                self.seen.insert(serial, seen);
                Ok(())
            }
        }
    }

    /// Whoever is live and judges others by this bundle.
    pub(super) fn consumers_bundles(&self, now: Timestamp) -> Vec<(String, Arc<TrustBundle>)> {
        let consuming = self.consuming.iter();
        let live = consuming.filter_map(|(name, it)| Some((full_name(name), it.live_bundle(now)?)));
        live.collect()
    }

    /// At the end of a run every consumer holds what it may have.
    ///
    /// # Errors
    /// One does not.
    pub(crate) fn judge_consumers_end(
        &self,
        node: &str,
        consumer: &Consumer,
        now: Timestamp,
    ) -> Result<(), Violation> {
        let nothing = Consuming::default();
        let consuming = self.consuming.get(&consumer.name).unwrap_or(&nothing);
        let is_good = |id: &str| {
            let taken = consuming.held.get(id);
            taken.is_some_and(|taken| taken.not_after > now)
        };
        let settled = self.expected.settled_at(node);
        let mut own = settled.filter(|key| uid_of(&key.id) == consumer.uid);
        let missing = own.find(|key| !is_good(&key.id));
        let told = || {
            let missing = missing.map_or("", |key| key.id.as_str());
            format!("{} has no good credential for {missing}", consumer.name)
        };
        holds(
            missing.is_none(),
            "every_live_consumer_ends_with_a_valid_credential",
            told,
        )
    }
}

impl Consuming {
    fn take(&mut self, name: &str, id: String, taken: Taken) -> Result<(), Violation> {
        if let Some(before) = self.held.get(&id) {
            let is_older = before.serial.log_id() == taken.serial.log_id()
                && before.serial.index() > taken.serial.index();
            let told = || format!("{name} has {id} as of an earlier time: {}", taken.serial);
            holds(!is_older, "an_older_state_never_replaces_a_newer_one", told)?;
        }
        self.held.insert(id, taken);
        Ok(())
    }

    /// A removed right has stopped. What is absent from a state of the world is not removed, as an Envoy
    /// has it.
    fn judge_rest(
        &self,
        expected: &Expectations,
        (node, consumer): (&str, &Consumer),
        calm: Instant,
    ) -> Result<(), Violation> {
        let Some(connected) = self.connected.filter(|_| consumer.kind != Kind::State) else {
            return Ok(());
        };
        let since = calm.max(connected) + SETTLES;
        for id in self.held.keys() {
            let Some(absent) = expected.absent_since(&Key::of(node, id)) else {
                continue;
            };
            let is_late = absent.at >= since && absent.at.elapsed() > HEARS;
            let told = || {
                let (name, late) = (&consumer.name, absent.at.elapsed());
                format!("{name} has {id}, {late:?} after its removal")
            };
            let invariant = "a_removed_right_stops_within_the_bound_while_connected";
            holds(!is_late, invariant, told)?;
        }
        Ok(())
    }
}

/// The name of a consumer, behind that of its node.
fn full_name(name: &str) -> String {
    format!("spiffe://example.org/{}", name.replace("node-", "node/"))
}
