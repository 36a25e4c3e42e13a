//! Random runs of the machine, every invariant checked after every step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// One thing that may happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    PrepareRoot,
    /// Whether the gate was opened for the present bundle.
    ActivateRoot(bool),
    /// An intermediate that waits with the prepared root.
    PrepareIntermediate,
    /// An intermediate under the active root, and an issuing CA under it.
    ActivateIntermediate,
    /// An issuing CA under the lowest active CA.
    ActivateIssuing,
    /// An issuing CA under the root itself.
    PassIntermediateBy,
    /// A leaf of so many seconds under the active issuing CA.
    Leaf(i64),
    /// So many seconds pass, then the dead are dropped.
    Time(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::PrepareRoot),
        any::<bool>().prop_map(Step::ActivateRoot),
        Just(Step::PrepareIntermediate),
        Just(Step::ActivateIntermediate),
        Just(Step::ActivateIssuing),
        Just(Step::PassIntermediateBy),
        (20i64..3_600).prop_map(Step::Leaf),
        (1i64..2_000).prop_map(Step::Time),
    ];
    prop::collection::vec(step, 1..80)
}

/// The machine, its clock, and what a careful observer remembers of it.
struct Run {
    slots: Slots,
    now: Timestamp,
    made: usize,
    acknowledged: BTreeSet<String>,
    signed_by: BTreeSet<String>,
    leaves: BTreeMap<String, Vec<Timestamp>>,
    issuer_of: BTreeMap<String, String>,
}

impl Run {
    fn new() -> Self {
        let mut run = Self {
            slots: Slots::default(),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            made: 0,
            acknowledged: BTreeSet::from(["ca-1".to_owned()]),
            signed_by: BTreeSet::new(),
            leaves: BTreeMap::new(),
            issuer_of: BTreeMap::new(),
        };
        let root = run.name();
        run.slots.begin(&root, Timestamp::MAX).unwrap();
        run.activate_issuing();
        run
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("ca-{}", self.made)
    }

    fn activate_issuing(&mut self) {
        let parents = [Tier::Intermediate, Tier::Root].map(|tier| self.slots.active(tier));
        let parent = parents.into_iter().flatten().next().unwrap().to_owned();
        self.activate_issuing_under(&parent);
    }

    fn activate_issuing_under(&mut self, parent: &str) {
        let key_id = self.name();
        let done = self.slots.activate_issuing(&key_id, parent, Timestamp::MAX);
        if done.is_ok() {
            self.signed(&key_id, parent);
        }
    }

    fn activate_intermediate(&mut self) {
        let key_id = self.name();
        let root = self.slots.active(Tier::Root).unwrap().to_owned();
        let end = Timestamp::MAX;
        if self
            .slots
            .activate_intermediate(&key_id, &root, end)
            .is_ok()
        {
            self.signed(&key_id, &root);
            self.activate_issuing();
        }
    }

    fn signed(&mut self, key_id: &str, issuer: &str) {
        self.signed_by.insert(issuer.to_owned());
        self.issuer_of.insert(key_id.to_owned(), issuer.to_owned());
    }

    /// The root that a CA is under.
    fn root_of(&self, key_id: &str) -> String {
        let mut at = key_id.to_owned();
        while let Some(issuer) = self.issuer_of.get(&at) {
            at.clone_from(issuer);
        }
        at
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::PrepareRoot => {
                let key_id = self.name();
                let _ = self.slots.prepare_root(&key_id, Timestamp::MAX);
            }
            Step::ActivateRoot(is_present) => {
                let slots = &self.slots;
                let prepared = [slots.prepared_root(), slots.prepared_intermediate()];
                let prepared = prepared.map(|it| it.map(str::to_owned));
                let version = if is_present { "present" } else { "older" };
                let done = self.slots.activate_root(version, "present");
                assert!(is_present || done.is_err(), "a gate of another bundle");
                if done.is_ok() {
                    self.acknowledged.extend(prepared.into_iter().flatten());
                    self.activate_issuing();
                }
            }
            Step::PrepareIntermediate => {
                let key_id = self.name();
                let root = self.slots.prepared_root().unwrap_or("none").to_owned();
                let end = Timestamp::MAX;
                if self.slots.prepare_intermediate(&key_id, &root, end).is_ok() {
                    // Its own root signed it, before it came to us.
                    self.issuer_of.insert(key_id, root);
                }
            }
            Step::ActivateIntermediate => self.activate_intermediate(),
            Step::ActivateIssuing => self.activate_issuing(),
            Step::PassIntermediateBy => {
                let root = self.slots.active(Tier::Root).unwrap().to_owned();
                self.activate_issuing_under(&root);
            }
            Step::Leaf(secs) => {
                let issuer = self.slots.active(Tier::Issuing).unwrap().to_owned();
                let end = self.now + SignedDuration::from_secs(secs);
                self.slots.note_leaf(&issuer, end);
                self.leaves.entry(issuer).or_default().push(end);
            }
            Step::Time(secs) => {
                self.now += SignedDuration::from_secs(secs);
                self.slots.drop_dead(self.now);
            }
        }
    }

    fn invariant_at_most_one_is_active(&self) {
        for (tier, least) in [(Tier::Root, 1), (Tier::Intermediate, 0), (Tier::Issuing, 1)] {
            let is_active = |slot: &&Slot| slot.tier == tier && slot.state == SlotState::Active;
            let count = self.slots.0.values().filter(is_active).count();
            assert!((least..=1).contains(&count), "{tier:?}: {count}");
        }
    }

    fn invariant_what_is_active_is_under_what_is_active(&self) {
        let issuer = |tier| {
            let key_id = self.slots.active(tier)?;
            Some(self.slots.get(key_id)?.issued_by.as_str())
        };
        let root = self.slots.active(Tier::Root);
        let intermediate = self.slots.active(Tier::Intermediate);
        assert_eq!(issuer(Tier::Issuing), intermediate.or(root));
        if intermediate.is_some() {
            assert_eq!(issuer(Tier::Intermediate), root);
        }
    }

    fn invariant_roots_sign_after_their_gate(&self) {
        for signer in &self.signed_by {
            assert!(self.acknowledged.contains(&self.root_of(signer)));
        }
    }

    fn invariant_nothing_hangs_in_the_air(&self) {
        for (key_id, slot) in self.slots.iter() {
            assert!(self.slots.get(&slot.issued_by).is_some(), "{key_id}");
        }
    }

    fn invariant_what_lives_is_trusted(&self) {
        let trusted: BTreeSet<_> = self.slots.trusted_roots().collect();
        for (issuing, ends) in &self.leaves {
            if ends.iter().any(|end| *end >= self.now) {
                assert!(trusted.contains(self.root_of(issuing).as_str()));
                assert!(self.slots.get(issuing).is_some());
            }
        }
    }

    fn check(&self) {
        self.invariant_at_most_one_is_active();
        self.invariant_what_is_active_is_under_what_is_active();
        self.invariant_nothing_hangs_in_the_air();
        self.invariant_roots_sign_after_their_gate();
        self.invariant_what_lives_is_trusted();
    }
}

proptest! {
    #[test]
    fn a_root_signs_nothing_before_every_live_consumer_acknowledged_it(steps in steps()) {
        let mut run = Run::new();
        run.check();
        for step in steps {
            run.apply(step);
            run.check();
        }
    }

    #[test]
    fn refused_steps_change_nothing(steps in steps()) {
        let mut run = Run::new();
        for step in steps {
            run.apply(step);
            let before = run.slots.clone();
            prop_assert!(run.slots.activate_root("older", "present").is_err());
            prop_assert!(run.slots.activate_issuing("new", "no root", Timestamp::MAX).is_err());
            prop_assert!(run.slots.activate_intermediate("new", "no root", Timestamp::MAX).is_err());
            prop_assert!(run.slots.prepare_intermediate("new", "no root", Timestamp::MAX).is_err());
            prop_assert!(run.slots.begin("new", Timestamp::MAX).is_err());
            prop_assert_eq!(&run.slots, &before);
        }
    }
}

#[test]
fn roots_have_a_bound() {
    let mut run = Run::new();
    for _ in 0..2 * MAX_ROOTS {
        run.apply(Step::Leaf(3_600));
        run.apply(Step::PrepareRoot);
        run.apply(Step::ActivateRoot(true));
    }
    assert_eq!(run.slots.trusted_roots().count(), MAX_ROOTS);
    assert_eq!(
        run.slots.prepare_root("new", Timestamp::MAX),
        Err(SlotError::Full)
    );
    run.apply(Step::Time(3_600 + 61));
    assert_eq!(run.slots.trusted_roots().count(), 1);
}

#[test]
fn intermediates_have_a_bound() {
    let mut run = Run::new();
    for _ in 0..2 * MAX_INTERMEDIATES {
        run.apply(Step::ActivateIntermediate);
        run.apply(Step::Leaf(3_600));
    }
    let of_tier = |run: &Run| {
        let all = run.slots.iter();
        all.filter(|(_, slot)| slot.tier == Tier::Intermediate)
            .count()
    };
    assert_eq!(of_tier(&run), MAX_INTERMEDIATES);
    let root = run.slots.active(Tier::Root).unwrap().to_owned();
    let full = run
        .slots
        .activate_intermediate("new", &root, Timestamp::MAX);
    assert_eq!(full, Err(SlotError::Full));
    run.apply(Step::Time(3_600 + 61));
    assert_eq!(of_tier(&run), 1);
}

#[test]
fn issuing_cas_have_a_bound() {
    let mut run = Run::new();
    for _ in 0..MAX_ISSUING + 3 {
        run.apply(Step::Leaf(3_600));
        run.apply(Step::ActivateIssuing);
    }
    let of_tier = |run: &Run| {
        let all = run.slots.iter();
        all.filter(|(_, slot)| slot.tier == Tier::Issuing).count()
    };
    assert_eq!(of_tier(&run), MAX_ISSUING);
    // Neither is a new root or intermediate activated, under which there is no room for one.
    run.apply(Step::PrepareRoot);
    let full = Err(SlotError::Full);
    assert_eq!(run.slots.activate_root("present", "present"), full);
    let root = run.slots.active(Tier::Root).unwrap().to_owned();
    let intermediate = run
        .slots
        .activate_intermediate("new", &root, Timestamp::MAX);
    assert_eq!(intermediate, full);
    run.apply(Step::Time(3_600 + 61));
    assert_eq!(of_tier(&run), 1);
}
