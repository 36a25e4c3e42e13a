//! The indexes of the registry, against a plain map.

use countersign_model::{Criticality, Selector};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const DEFAULT: Duration = Duration::from_secs(3_600);

fn id(path: &str) -> SpiffeId {
    SpiffeId::new(&format!("spiffe://example.org{path}")).unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

fn registry() -> Registry {
    let defaults = Defaults {
        ttl: DEFAULT,
        renew: RenewalWindow::default(),
        backdate: Duration::from_secs(60),
    };
    Registry::new(defaults, Policy::default())
}

fn kept(key: RegistrationKey, ttl: Option<u64>, end: Option<i64>) -> Kept {
    let registration = Registration {
        key,
        owner: "me".to_owned(),
        criticality: Criticality::default(),
        labels: BTreeMap::new(),
        x509_ttl: ttl.map(Duration::from_secs),
        dns: Vec::new(),
        hint: None,
        is_default: false,
        expires_at: end.map(at),
        created_at: at(0),
        created_seq: 0,
    };
    Kept {
        registration,
        key_epoch: 0,
        raised_at: None,
        began: None,
    }
}

prop_compose! {
    fn key()(
        workload in select(vec!["/web", "/db"]),
        node in select(vec![None, Some("/node/a"), Some("/node/b")]),
        uid in 1_u32..3,
    ) -> RegistrationKey {
        let selectors = SelectorSet::new([Selector::UnixUid(uid)]).unwrap();
        match node {
            Some(node) => RegistrationKey::on_node(id(workload), id(node), selectors),
            None => RegistrationKey::manual(id(workload)),
        }
    }
}

prop_compose! {
    /// A registration to insert, or a key to remove.
    fn step()(
        key in key(),
        keep in prop::bool::weighted(0.7),
        ttl in select(vec![None, Some(60), Some(7_200)]),
        end in prop::option::of(0_i64..100),
    ) -> (RegistrationKey, Option<Kept>) {
        (key.clone(), keep.then(|| kept(key, ttl, end)))
    }
}

type Model = BTreeMap<RegistrationKey, Kept>;

/// Every registration, read in pages and sorted by key.
fn all_of(registry: &Registry) -> Vec<Registration> {
    let mut all: Vec<Registration> = Vec::new();
    loop {
        let last = all
            .last()
            .map(|it| (it.key.id.clone(), it.key.entitlement_id()));
        let page = registry.page(last.as_ref(), 2);
        if page.is_empty() {
            all.sort_by(|a, b| a.key.cmp(&b.key));
            return all;
        }
        all.extend(page.into_iter().map(|kept| kept.registration.clone()));
    }
}

fn agree(registry: &Registry, model: &Model, now: i64) {
    let all: Vec<_> = model
        .values()
        .map(|kept| kept.registration.clone())
        .collect();
    assert_eq!(all_of(registry), all);
    assert_eq!(registry.count(), all.len());
    let ttls = all.iter().filter_map(|it| it.x509_ttl);
    assert_eq!(
        registry.ttl_bounds().1,
        ttls.chain([DEFAULT]).max().unwrap()
    );
    let mut ended = registry.ended(at(now), usize::MAX);
    ended.sort_by(|a, b| a.key.cmp(&b.key));
    let has_ended = |it: &&Registration| it.expires_at.is_some_and(|end| end <= at(now));
    let expected: Vec<_> = all.iter().filter(has_ended).cloned().collect();
    assert_eq!(ended, expected);
    for workload in ["/web", "/db", "/none"].map(id) {
        let of_id = all.iter().filter(|it| it.key.id == workload);
        let of_id: Vec<_> = of_id.cloned().collect();
        assert_eq!(registry.is_workload(&workload), !of_id.is_empty());
        let mut found = registry.of_id(&workload, None);
        found.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(found, of_id);
    }
    for node in ["/node/a", "/node/b", "/node/c"].map(id) {
        let held = all.iter().filter(|it| it.key.node() == Some(&node));
        let mut held: Vec<_> = held.map(|it| it.key.entitlement_id()).collect();
        held.sort();
        let found: Vec<_> = registry
            .entitlements(&node)
            .map(|it| it.id.clone())
            .collect();
        assert_eq!(found, held, "nothing that is signed by hand, and all else");
        assert_eq!(registry.is_node(&node), !held.is_empty());
    }
}

proptest! {
    #[test]
    fn indexes_agree_with_a_plain_map(
        steps in prop::collection::vec(step(), 0..30),
        now in 0_i64..100,
    ) {
        let (mut registry, mut model) = (registry(), Model::new());
        for (key, kept) in steps {
            match kept {
                Some(kept) => {
                    registry.insert(kept.clone());
                    model.insert(key, kept);
                }
                None => {
                    registry.remove(&key.entitlement_id());
                    model.remove(&key);
                }
            }
            agree(&registry, &model, now);
        }
    }
}

#[test]
fn what_ended_first_goes_first_and_within_a_bound() {
    let mut registry = registry();
    for (n, end) in [(1, 30), (2, 10), (3, 20)] {
        let selectors = SelectorSet::new([Selector::UnixUid(n)]).unwrap();
        let key = RegistrationKey::on_node(id("/web"), id("/node/a"), selectors);
        registry.insert(kept(key, None, Some(end)));
    }
    let ends = |most| {
        let ended = registry.ended(at(25), most);
        ended
            .into_iter()
            .filter_map(|it| it.expires_at)
            .collect::<Vec<_>>()
    };
    assert_eq!(ends(9), [at(10), at(20)]);
    assert_eq!(ends(1), [at(10)]);
}
