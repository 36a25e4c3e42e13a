use proptest::prelude::*;

use super::*;

const KEYS: [&str; 6] = ["k0", "k1", "k2", "k3", "k4", "k5"];

fn record(key_id: &str, tier: Tier, owner: &str, issued_by: &str) -> CaRecord {
    CaRecord {
        key_id: key_id.to_owned(),
        tier,
        owner: owner.to_owned(),
        store: (tier != Tier::Root).then_some(StoreKind::Disk),
        key_identifier: format!("{key_id}-named"),
        serial: format!("{key_id}-serial"),
        issued_by: issued_by.to_owned(),
        issued_at: Timestamp::from_second(1_800_000_000).unwrap(),
        not_before: Timestamp::from_second(1_800_000_001).unwrap(),
        not_after: Timestamp::from_second(1_900_000_000).unwrap(),
        certificate: key_id.as_bytes().to_vec().into(),
    }
}

/// What may be stored of a CA: its place is what its key id says.
fn ca(place: usize) -> impl Strategy<Value = Option<(CaRecord, SlotState)>> {
    let states = vec![SlotState::Prepared, SlotState::Active, SlotState::Retired];
    let stored = (
        prop::sample::select(&["", "a", "b"]),
        prop::sample::select(states),
    );
    let key_id = KEYS[place];
    prop::option::of(stored.prop_map(move |(owner, state)| {
        let record = match place {
            0 => record(key_id, Tier::Root, "", key_id),
            1 => record(key_id, Tier::Intermediate, "", KEYS[0]),
            _ => record(key_id, Tier::Issuing, owner, KEYS[place % 2]),
        };
        (record, state)
    }))
}

fn authorities() -> impl Strategy<Value = Authorities> {
    let all: Vec<_> = (0..KEYS.len()).map(ca).collect();
    all.prop_map(|all| Authorities::restore(all.into_iter().flatten()))
}

/// Everything that is stored of some CAs.
fn all_of(authorities: &Authorities) -> Vec<Write> {
    changes(&Authorities::default(), authorities)
}

proptest! {
    /// Whoever takes what was committed has what the one had who committed it.
    #[test]
    fn taken_changes_are_those_that_were_made(before in authorities(), after in authorities()) {
        let mut took = before.clone();
        took.take(taken(&changes(&before, &after)).unwrap());
        prop_assert_eq!(all_of(&took), all_of(&after));
        for key_id in KEYS {
            prop_assert_eq!(took.path(key_id), after.path(key_id));
            prop_assert_eq!(took.slots().get(key_id), after.slots().get(key_id));
        }
    }

    #[test]
    fn noted_leaves_stay_with_what_is_taken(before in authorities(), after in authorities()) {
        let end = Timestamp::from_second(1_850_000_000).unwrap();
        let mut took = before.clone();
        KEYS.iter().for_each(|key_id| took.slots_mut().note_leaf(key_id, end));
        took.take(taken(&all_of(&after)).unwrap());
        for (key_id, slot) in took.slots().iter() {
            let is_known = before.slots().get(key_id).is_some();
            prop_assert_eq!(slot.live_until, is_known.then_some(end));
        }
    }

    #[test]
    fn stored_cas_are_read_as_they_were(stored in authorities()) {
        let entries = taken(&all_of(&stored)).unwrap();
        let read = Authorities::restore(entries.into_iter().filter_map(|(_, ca)| ca));
        prop_assert_eq!(all_of(&read), all_of(&stored));
    }
}

/// One of before there were owners, and one that names none.
#[test]
fn ca_without_an_owner_is_of_the_empty_name() {
    let mine = record("k2", Tier::Issuing, "", "k0");
    let stored = Write::put(
        Kind::Authority,
        "k2",
        &StoredCa::new(&mine, SlotState::Active),
    );
    assert!(!stored.value.as_deref().unwrap().contains("owner"));
    let read = taken(&[stored]).unwrap();
    let (_, Some((record, _))) = &read[0] else {
        panic!("it is there");
    };
    assert_eq!(record.owner, "");
}

#[test]
fn cas_in_a_circle_have_no_path() {
    let around = [
        record("k2", Tier::Issuing, "a", "k3"),
        record("k3", Tier::Issuing, "a", "k2"),
    ];
    let stored = around.map(|record| (record, SlotState::Active));
    assert_eq!(Authorities::restore(stored).path("k2"), None);
}

#[test]
fn damaged_ca_is_refused() {
    let damaged = Write::put(Kind::Authority, "k2", &"no CA");
    assert!(taken(&[damaged]).is_err());
    let mut stored = serde_json::to_value(StoredCa::new(
        &record("k2", Tier::Issuing, "a", "k0"),
        SlotState::Active,
    ))
    .unwrap();
    stored["certificate"] = "xyz".into();
    assert!(taken(&[Write::put(Kind::Authority, "k2", &stored)]).is_err());
}
