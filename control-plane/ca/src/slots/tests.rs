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
    /// The replica is no more.
    RetireOwner,
    /// Another replica takes over what it has.
    Adopt(&'static str),
}

/// Who may do it: a control plane without a name, and replicas.
const OWNERS: [&str; 3] = ["", "a", "b"];

fn owner() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&OWNERS)
}

fn steps() -> impl Strategy<Value = Vec<(&'static str, Step)>> {
    let step = prop_oneof![
        2 => Just(Step::PrepareRoot),
        2 => any::<bool>().prop_map(Step::ActivateRoot),
        2 => Just(Step::PrepareIntermediate),
        2 => Just(Step::ActivateIntermediate),
        4 => Just(Step::ActivateIssuing),
        2 => Just(Step::PassIntermediateBy),
        4 => (20i64..3_600).prop_map(Step::Leaf),
        4 => (1i64..2_000).prop_map(Step::Time),
        1 => Just(Step::RetireOwner),
        1 => owner().prop_map(Step::Adopt),
    ];
    prop::collection::vec((owner(), step), 1..80)
}

/// The machine, its clock, and what a careful observer remembers of it.
struct Run {
    slots: Slots,
    /// Who does the next step.
    owner: &'static str,
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
            owner: "",
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
        let parents = [self.slots.active_intermediate(), self.slots.active_root()];
        let parent = parents.into_iter().flatten().next().unwrap().to_owned();
        let before = self.slots.clone();
        self.activate_issuing_under(&parent);
        let of_others = |slots: &Slots| {
            let all = slots.0.clone().into_iter();
            let others = all.filter(|(_, slot)| slot.owner != self.owner);
            others.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(of_others(&self.slots), of_others(&before));
    }

    fn activate_issuing_under(&mut self, parent: &str) {
        let key_id = self.name();
        let end = self.now + SignedDuration::from_secs(3_700);
        let done = self
            .slots
            .activate_issuing(self.owner, &key_id, parent, end);
        if done.is_ok() {
            assert_eq!(self.slots.active_issuing(self.owner), Some(&*key_id));
            self.signed(&key_id, parent);
        }
    }

    fn activate_intermediate(&mut self) {
        let key_id = self.name();
        let root = self.slots.active_root().unwrap().to_owned();
        let end = Timestamp::MAX;
        if self
            .slots
            .activate_intermediate(&key_id, &root, end)
            .is_ok()
        {
            self.signed(&key_id, &root);
            self.invariant_all_retired();
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
                    self.invariant_all_retired();
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
                let root = self.slots.active_root().unwrap().to_owned();
                self.activate_issuing_under(&root);
            }
            Step::Leaf(secs) => {
                let Some(issuer) = self.slots.active_issuing(self.owner) else {
                    return;
                };
                let (issuer, issuer_end) = (issuer.to_owned(), self.slots.0[issuer].not_after);
                let end = self.now + SignedDuration::from_secs(secs);
                let end = end.min(issuer_end);
                self.slots.note_leaf(&issuer, end);
                self.leaves.entry(issuer).or_default().push(end);
            }
            Step::Time(secs) => {
                self.now += SignedDuration::from_secs(secs);
                self.drop_dead();
            }
            Step::RetireOwner => {
                self.slots.retire_owner(self.owner);
                assert_eq!(self.slots.active_issuing(self.owner), None);
            }
            Step::Adopt(by) => {
                let active = [by, self.owner].map(|it| self.slots.active_issuing(it));
                let active = active.into_iter().flatten().next().map(str::to_owned);
                self.slots.adopt(self.owner, by);
                assert_eq!(self.slots.active_issuing(by), active.as_deref());
            }
        }
    }

    /// As the owner sees it, who has noted no leaves of others.
    fn drop_dead(&mut self) {
        let mut seen = self.slots.clone();
        let others = seen.0.values_mut().filter(|it| it.owner != self.owner);
        others.for_each(|it| it.live_until = None);
        seen.drop_dead(self.owner, self.now);
        self.slots.0.retain(|key_id, _| seen.get(key_id).is_some());
    }

    fn count_active(&self, is_counted: impl Fn(&Slot) -> bool) -> usize {
        let slots = self.slots.0.values();
        let active = slots.filter(|slot| slot.state == SlotState::Active);
        active.filter(|slot| is_counted(slot)).count()
    }

    fn invariant_all_retired(&self) {
        assert_eq!(self.count_active(|slot| slot.tier == Tier::Issuing), 0);
        for owner in OWNERS {
            assert!(self.slots.has_room_for(owner).is_ok(), "{owner}");
        }
    }

    fn invariant_at_most_one_is_active(&self) {
        assert_eq!(self.count_active(|slot| slot.tier == Tier::Root), 1);
        assert!(self.count_active(|slot| slot.tier == Tier::Intermediate) <= 1);
        for owner in OWNERS {
            let is_its = |slot: &Slot| slot.tier == Tier::Issuing && slot.owner == owner;
            assert!(self.count_active(is_its) <= 1, "{owner}");
        }
    }

    fn invariant_what_is_active_is_under_what_is_active(&self) {
        let root = self.slots.active_root();
        let intermediate = self.slots.active_intermediate();
        let slots = self.slots.0.values();
        for slot in slots.filter(|slot| slot.state == SlotState::Active) {
            let above = match slot.tier {
                Tier::Issuing => intermediate.or(root),
                _ => root,
            };
            assert_eq!(Some(&*slot.issued_by), above);
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
        for (owner, step) in steps {
            run.owner = owner;
            run.apply(step);
            run.check();
        }
    }

    #[test]
    fn refused_steps_change_nothing(steps in steps()) {
        let mut run = Run::new();
        for (owner, step) in steps {
            run.owner = owner;
            run.apply(step);
            let before = run.slots.clone();
            prop_assert!(run.slots.activate_root("older", "present").is_err());
            prop_assert!(run.slots.activate_issuing(owner, "new", "no root", Timestamp::MAX).is_err());
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
    let root = run.slots.active_root().unwrap().to_owned();
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
    let root = run.slots.active_root().unwrap().to_owned();
    let intermediate = run
        .slots
        .activate_intermediate("new", &root, Timestamp::MAX);
    assert_eq!(intermediate, full);
    run.apply(Step::Time(3_600 + 61));
    assert_eq!(of_tier(&run), 1);
}

#[test]
fn one_replica_has_a_share_of_issuing_cas() {
    let mut run = Run::new();
    let of = |run: &Run, owner: &str| {
        let all = run.slots.iter();
        all.filter(|(_, slot)| slot.tier == Tier::Issuing && slot.owner == owner)
            .count()
    };
    run.owner = "b";
    run.apply(Step::ActivateIssuing);
    run.owner = "a";
    for _ in 0..MAX_ISSUING_OF_ONE + 3 {
        run.apply(Step::Leaf(3_600));
        run.apply(Step::ActivateIssuing);
    }
    assert_eq!(of(&run, "a"), MAX_ISSUING_OF_ONE);
    let root = run.slots.active_root().unwrap().to_owned();
    let add = |run: &mut Run, owner: &str| {
        let slots = &mut run.slots;
        slots.activate_issuing(owner, "new", &root, Timestamp::MAX)
    };
    assert_eq!(add(&mut run, "a"), Err(SlotError::Full));
    assert_eq!(add(&mut run, "b"), Ok(()), "another's share is its own");
    // A root under which `a` could have no issuing CA is not activated.
    run.apply(Step::PrepareRoot);
    let full = Err(SlotError::Full);
    assert_eq!(run.slots.activate_root("present", "present"), full);
    run.apply(Step::RetireOwner);
    assert_eq!(run.slots.activate_root("present", "present"), Ok(()));
    run.apply(Step::Time(3_600 + 61));
    assert_eq!(of(&run, "a"), 0);
}

#[test]
fn issuing_ca_of_another_is_kept_until_its_end() {
    let mut run = Run::new();
    run.owner = "b";
    run.apply(Step::ActivateIssuing);
    run.apply(Step::Leaf(3_600));
    let issuing = run.slots.active_issuing("b").unwrap().to_owned();
    run.apply(Step::ActivateIssuing);
    run.owner = "a";
    run.apply(Step::Time(3_700));
    assert!(run.slots.get(&issuing).is_some(), "`a` knows no leaf of it");
    run.owner = "b";
    run.apply(Step::Time(1));
    assert!(run.slots.get(&issuing).is_none(), "`b` does");
}
