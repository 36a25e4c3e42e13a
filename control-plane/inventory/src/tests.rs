use countersign_footprint::{alone, kept_by};
use countersign_model::{Coordinate, Criticality, Seq, Serial};

use super::*;

/// What 100 000 lineages are promised to cost at most in the whole control plane.
const PROMISED: usize = 200_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn issuance(index: u64, id: &str, node: &str, issued_at: i64) -> Issuance {
    Issuance {
        serial: Serial::new(0x01_0000, index, [7; 8]).unwrap(),
        profile: Profile::Svid,
        spiffe_id: format!("spiffe://example.org{id}"),
        node: format!("spiffe://example.org/node/{node}"),
        entitlement: "reg-0".to_owned(),
        spki_sha256: [u8::try_from(index % 251).unwrap(); 32],
        issuer: "ca".to_owned(),
        issued_at: at(issued_at),
        not_after: at(issued_at + 600),
        tbs: Vec::new(),
        account: Account {
            owner: format!("team-{node}"),
            criticality: Criticality::Standard,
            labels: [("tier".to_owned(), node.to_owned())].into(),
        },
        renews: None,
        key_epoch: None,
        attested: None,
        order: index,
    }
}

fn filled() -> Inventory {
    let mut inventory = Inventory::default();
    for (index, id, node, issued_at) in [
        (0, "/pay/web", "a", 0),
        (1, "/pay/web", "b", 0),
        (2, "/payroll", "a", 0),
        (3, "/pay/web", "a", 300),
    ] {
        inventory.found(&issuance(index, id, node, issued_at));
    }
    inventory
}

fn listed(filter: &Filter, now: i64) -> Vec<u64> {
    let inventory = filled();
    let listed = inventory.list(filter, at(now)).into_iter();
    listed.map(|it| it.newest.serial.index()).collect()
}

#[test]
fn renewals_are_one_lineage() {
    let inventory = filled();
    let all = inventory.list(&Filter::default(), at(400));
    assert_eq!(all.len(), 3);
    assert_eq!((all[0].certificates, all[0].newest.serial.index()), (2, 3));
    assert_eq!(all[0].since, at(0));
    assert_eq!(inventory.issued_total(), 4);
}

#[test]
fn older_certificate_found_later_is_not_the_newest() {
    let mut inventory = filled();
    inventory.found(&issuance(0, "/pay/web", "a", 0));
    let all = inventory.list(&Filter::default(), at(400));
    assert_eq!((all[0].newest.serial.index(), all[0].certificates), (3, 2));
}

fn coverage() -> Coverage {
    Coverage {
        log_id: 0x01_0000,
        settled: 4,
        oldest_live: 1,
        accounted: 2,
        voids: vec![Void {
            entry: Coordinate::new(0x01_0000, 0).unwrap(),
            not_after: at(900),
            spki_sha256: [3; 32],
        }],
        others: OtherLogs {
            newest: Some(TakenEntry::new(
                Seq(9),
                Coordinate::new(0x02_0000, 5).unwrap(),
                b"an entry",
            )),
            oldest_live: [(0x02_0000, 3)].into(),
        },
    }
}

#[test]
fn snapshot_reads_back_equal() {
    let inventory = filled();
    let coverage = coverage();
    let bytes = inventory.to_snapshot(&coverage);
    let (mut again, covered) = Inventory::from_snapshot(&bytes).unwrap();
    assert_eq!(covered, coverage);
    let rows = |inventory: &Inventory| {
        let all = inventory.list(&Filter::default(), at(0)).into_iter();
        all.map(|it| format!("{it:?}")).collect::<Vec<_>>()
    };
    assert_eq!(rows(&again), rows(&inventory));
    assert_eq!(again.issued_total(), 4);
    again.forget_expired(at(901) + REMEMBERED);
    assert_eq!(again.count(), 0, "what was read back ends as well");
}

#[test]
fn damaged_snapshot_is_none() {
    let coverage = coverage();
    let bytes = filled().to_snapshot(&coverage);
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(Inventory::from_snapshot(&damaged).is_none(), "byte {place}");
        assert!(Inventory::from_snapshot(&bytes[..place]).is_none());
    }
}

#[test]
fn filters_narrow_by_whole_segments_and_exact_texts() {
    let under = |under: &str| Filter {
        under: format!("spiffe://example.org{under}"),
        ..Filter::default()
    };
    assert_eq!(listed(&under("/pay"), 1), [3, 1]);
    assert_eq!(listed(&under("/pay/"), 1), [3, 1]);
    assert_eq!(listed(&under(""), 1), [3, 1, 2]);
    let owner = Filter {
        owner: "team-b".to_owned(),
        ..Filter::default()
    };
    assert_eq!(listed(&owner, 1), [1]);
    let labelled = |value: &str| Filter {
        labels: vec![("tier".to_owned(), value.to_owned())],
        ..Filter::default()
    };
    assert_eq!(listed(&labelled("b"), 1), [1]);
    assert!(listed(&labelled("c"), 1).is_empty());
    let soon = Filter {
        ends_within: Some(SignedDuration::from_secs(10)),
        ..Filter::default()
    };
    assert_eq!(listed(&soon, 595), [1, 2]);
    let expired = Filter {
        validity: Validity::Expired,
        ..Filter::default()
    };
    assert_eq!(listed(&expired, 601), [1, 2]);
    assert_eq!(listed(&Filter::default(), 601), [3]);
}

#[test]
fn ended_lineages_are_forgotten_with_their_names() {
    let mut inventory = filled();
    inventory.forget_expired(at(600) + REMEMBERED + SignedDuration::from_secs(1));
    let any = Filter {
        validity: Validity::Any,
        ..Filter::default()
    };
    assert_eq!(
        inventory.list(&any, at(0)).len(),
        1,
        "the renewed one is newer"
    );
    inventory.forget_expired(at(901) + REMEMBERED);
    assert!(inventory.list(&any, at(0)).is_empty());
    assert!(inventory.names.is_empty(), "{:?}", inventory.names);
}

#[test]
fn hundred_thousand_lineages_fit_their_memory() {
    alone("tests::hundred_thousand_lineages_fit_their_memory", || {
        let (inventory, bytes) = kept_by(|| {
            let mut inventory = Inventory::default();
            for n in 0..100_000 {
                let id = format!("/ns/shop/workload/{n}");
                inventory.found(&issuance(n, &id, &(n % 1_000).to_string(), 0));
            }
            inventory
        });
        assert_eq!(inventory.count(), 100_000);
        eprintln!("{} bytes a lineage", bytes / 100_000);
        assert!(bytes < PROMISED / 4, "{bytes} bytes");
    });
}

#[test]
fn ended_lineages_give_their_room_back() {
    let mut inventory = Inventory::default();
    for n in 0..20_000 {
        inventory.found(&issuance(n, &format!("/w/{n}"), "a", 0));
    }
    inventory.forget_expired(at(601) + REMEMBERED);
    let room = inventory.lineages.capacity();
    assert!(inventory.count() == 0 && room < 10_000, "{room}");
}
