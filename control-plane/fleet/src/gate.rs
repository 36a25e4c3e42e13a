//! The gate before a root signs: a pure decision over consumers, a bundle version and `now`.
//!
//! It opens when every live consumer has the bundle. A consumer is live while its stream is open
//! or the last credential that it was given is unexpired: one that is away for a moment keeps
//! validating with its old bundle, and would refuse what the new root signs. An operator may waive
//! one by its name, for a time: then it is not waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::has_passed;

/// How long after its delivery a bundle counts as installed where nothing acknowledges it.
pub const DELIVERY_GRACE: Duration = Duration::from_secs(10);

/// How a consumer shows that it has a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing is known of it.
    Nothing,
    /// It acknowledged this version.
    Acknowledged(String),
    /// This version was delivered to it then; it cannot acknowledge.
    Delivered(String, Timestamp),
}

/// Something that validates with a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// What operators know it by.
    pub name: String,
    /// Which bundle it has.
    pub evidence: Evidence,
    /// Whether its stream is open.
    pub connected: bool,
    /// The control plane that told of it, where that is another one.
    pub replica: Option<String>,
    /// NotAfter of the newest credential that it can hold.
    pub credential_not_after: Option<Timestamp>,
}

impl Consumer {
    /// Whether it still counts. Of a stream elsewhere it is not known when it ends.
    pub fn is_live(&self, now: Timestamp) -> bool {
        (self.connected && self.replica.is_none())
            || self.credential_not_after.is_some_and(|end| now <= end)
    }

    /// Whether it certainly validates with this version.
    pub fn has(&self, version: &str, now: Timestamp) -> bool {
        match &self.evidence {
            Evidence::Nothing => false,
            Evidence::Acknowledged(held) => held == version,
            Evidence::Delivered(held, at) => {
                held == version && has_passed(*at, DELIVERY_GRACE, now)
            }
        }
    }
}

/// The consumers that are not waited for, each until a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waived {
    by_name: BTreeMap<String, Timestamp>,
    /// Whoever is not connected.
    absent: Option<Timestamp>,
}

impl Waived {
    /// Those of these names, and whoever is not connected until `absent`.
    pub fn new(
        by_name: impl IntoIterator<Item = (String, Timestamp)>,
        absent: Option<Timestamp>,
    ) -> Self {
        Self {
            by_name: by_name.into_iter().collect(),
            absent,
        }
    }

    pub(super) fn covers(&self, consumer: &Consumer, now: Timestamp) -> bool {
        let of_absent = self.absent.filter(|_| !consumer.connected);
        let until = [self.by_name.get(&consumer.name).copied(), of_absent];
        until.into_iter().flatten().any(|until| now < until)
    }
}

/// The live consumers that do not have the bundle and are not waived: the gate is open when there is
/// none.
pub fn laggards<'a>(
    consumers: &'a [Consumer],
    version: &str,
    waived: &Waived,
    now: Timestamp,
) -> impl Iterator<Item = &'a Consumer> {
    let live = consumers.iter().filter(move |it| it.is_live(now));
    let waiting = live.filter(move |it| !it.has(version, now));
    waiting.filter(move |it| !waived.covers(it, now))
}

/// Their names.
pub fn waiting_for(
    consumers: &[Consumer],
    version: &str,
    waived: &Waived,
    now: Timestamp,
) -> Vec<String> {
    let waiting = laggards(consumers, version, waived, now);
    waiting.map(|it| it.name.clone()).collect()
}

/// Proof that every live consumer has the bundle that a prepared root is in, has expired, was evicted
/// or holds a waiver. Only [`Consumers::gate`](super::Consumers::gate) opens one, so a root cannot be activated
/// around it.
#[derive(Debug)]
pub struct GateOpen {
    bundle_version: String,
}

impl GateOpen {
    /// For the consumers, once nobody is waited for.
    pub(super) fn new(bundle_version: &str) -> Self {
        Self {
            bundle_version: bundle_version.to_owned(),
        }
    }

    /// For tests of what stands behind the gate.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(bundle_version: &str) -> Self {
        Self::new(bundle_version)
    }

    /// The version of the bundle that everybody has.
    pub fn bundle_version(&self) -> &str {
        &self.bundle_version
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn consumer(evidence: Evidence, connected: bool, end: Option<i64>) -> Consumer {
        Consumer {
            name: "it".to_owned(),
            evidence,
            connected,
            replica: None,
            credential_not_after: end.map(at),
        }
    }

    fn waits(consumer: Consumer, now: i64) -> bool {
        !waiting_for(&[consumer], "new", &Waived::default(), at(now)).is_empty()
    }

    #[test]
    fn an_absent_node_is_waited_for_until_it_expires() {
        let away = consumer(Evidence::Nothing, false, Some(100));
        assert!(waits(away.clone(), 100));
        assert!(!waits(away, 101));
    }

    #[test]
    fn an_open_stream_is_waited_for_without_end() {
        let old = Evidence::Acknowledged("old".to_owned());
        assert!(waits(consumer(old, true, Some(100)), 1_000));
    }

    #[test]
    fn delivery_counts_after_its_grace() {
        let delivered = Evidence::Delivered("new".to_owned(), at(100));
        let stream = consumer(delivered, true, None);
        assert!(waits(stream.clone(), 109));
        assert!(!waits(stream, 110));
    }

    fn waivers(until: &[(&str, i64)]) -> Waived {
        let named = until
            .iter()
            .map(|(name, end)| ((*name).to_owned(), at(*end)));
        Waived::new(named, None)
    }

    #[test]
    fn waiver_opens_for_its_consumer_alone() {
        let lag = |name: &str| Consumer {
            name: name.to_owned(),
            ..consumer(Evidence::Nothing, true, None)
        };
        let (x, y) = (lag("x"), lag("y"));
        let both = [x, y];
        let waiting = |waived: &Waived, now| waiting_for(&both, "new", waived, at(now));
        assert_eq!(waiting(&waivers(&[("x", 100)]), 50), ["y"]);
        assert_eq!(waiting(&waivers(&[("x", 100), ("y", 100)]), 99), [""; 0]);
        assert_eq!(waiting(&waivers(&[("x", 100), ("z", 100)]), 50), ["y"]);
    }

    #[test]
    fn expired_waiver_blocks_again() {
        let stuck = consumer(Evidence::Nothing, true, None);
        let (stuck, waived) = ([stuck], waivers(&[("it", 100)]));
        let waiting = |now| waiting_for(&stuck, "new", &waived, at(now));
        assert!(waiting(99).is_empty());
        assert_eq!(waiting(100), ["it"]);
    }

    #[test]
    fn waiver_of_the_absent_spares_the_connected() {
        let lag = |name: &str, connected| Consumer {
            name: name.to_owned(),
            ..consumer(Evidence::Nothing, connected, Some(200))
        };
        let (both, waived) = (
            [lag("away", false), lag("here", true)],
            Waived::new([], Some(at(100))),
        );
        let waiting = |now| waiting_for(&both, "new", &waived, at(now));
        assert_eq!(waiting(99), ["here"]);
        assert_eq!(waiting(100), ["away", "here"]);
    }

    fn evidence() -> impl Strategy<Value = Evidence> {
        let version = prop_oneof![Just("old".to_owned()), Just("new".to_owned())];
        prop_oneof![
            Just(Evidence::Nothing),
            version.clone().prop_map(Evidence::Acknowledged),
            (version, 0i64..200).prop_map(|(v, s)| Evidence::Delivered(v, at(s))),
        ]
    }

    fn consumers() -> impl Strategy<Value = Vec<Consumer>> {
        let one = (evidence(), any::<bool>(), proptest::option::of(0i64..200))
            .prop_map(|(evidence, connected, end)| consumer(evidence, connected, end));
        proptest::collection::vec(one, 0..8)
    }

    proptest! {
        /// An independent reading of the rule: the open gate leaves no live consumer behind.
        #[test]
        fn a_root_signs_nothing_before_every_live_consumer_acknowledged_it(
            consumers in consumers(), now in 0i64..220,
        ) {
            if waiting_for(&consumers, "new", &Waived::default(), at(now)).is_empty() {
                for it in &consumers {
                    let expired = it.credential_not_after.is_none_or(|end| end < at(now));
                    let has = match &it.evidence {
                        Evidence::Nothing => false,
                        Evidence::Acknowledged(v) => v == "new",
                        Evidence::Delivered(v, t) => v == "new" && t.as_second() + 10 <= now,
                    };
                    prop_assert!(has || (!it.connected && expired));
                }
            }
        }

        /// A waiver takes out whom it names, while it lasts, and nobody else.
        #[test]
        fn waiver_changes_nothing_for_others(
            consumers in consumers(), now in 0i64..220, until in 0i64..220,
        ) {
            let consumers: Vec<_> = { consumers }
                .into_iter()
                .enumerate()
                .map(|(n, it)| Consumer { name: n.to_string(), ..it })
                .collect();
            let all = waiting_for(&consumers, "new", &Waived::default(), at(now));
            let left = waiting_for(&consumers, "new", &waivers(&[("0", until)]), at(now));
            let expected: Vec<_> = { all }
                .into_iter()
                .filter(|name| name != "0" || until <= now)
                .collect();
            prop_assert_eq!(left, expected);
        }

        /// Every consumer can get out of the way: nobody blocks the gate by having it.
        #[test]
        fn acknowledging_never_closes_the_gate(
            consumers in consumers(), now in 0i64..220, which in any::<prop::sample::Index>(),
        ) {
            let none = Waived::default();
            let before = waiting_for(&consumers, "new", &none, at(now)).len();
            let mut after = consumers;
            if !after.is_empty() {
                let index = which.index(after.len());
                after[index].evidence = Evidence::Acknowledged("new".to_owned());
                prop_assert!(waiting_for(&after, "new", &none, at(now)).len() <= before);
            }
        }
    }
}
