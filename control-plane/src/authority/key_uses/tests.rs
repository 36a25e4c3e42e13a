use countersign_model::Serial;

use super::*;
use crate::footprint::{alone, kept_by};
use crate::issue::issuance::Account;
use crate::issue::profile::Profile;

const BURST: u64 = 50_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(in crate::authority) fn issuance(index: u64, not_after: i64) -> Issuance {
    let mut spki_sha256 = [0; 32];
    spki_sha256[..8].copy_from_slice(&index.to_be_bytes());
    Issuance {
        serial: Serial::new(0x01_0000, index, [7; 8]).unwrap(),
        profile: Profile::Svid,
        spiffe_id: "spiffe://example.org/web".to_owned(),
        node: "spiffe://example.org/node/a".to_owned(),
        entitlement: "node".to_owned(),
        spki_sha256,
        issuer: "ca".to_owned(),
        issued_at: at(0),
        not_after: at(not_after),
        tbs: Vec::new(),
        account: Account::default(),
        renews: None,
        key_epoch: None,
    }
}

fn issued(keys: &mut Keys, count: u64, not_after: i64) {
    (0..count).for_each(|index| keys.issued(&issuance(index, not_after)));
}

#[test]
fn key_costs_little_while_it_is_remembered() {
    alone(
        "authority::key_uses::tests::key_costs_little_while_it_is_remembered",
        || {
            let (keys, bytes) = kept_by(|| {
                let mut keys = Keys::default();
                issued(&mut keys, BURST, 60);
                keys
            });
            let each = bytes / usize::try_from(BURST).unwrap();
            eprintln!("{each} bytes a key");
            assert!(keys.size().0 == 50_000 && each <= 150, "{each} bytes");
        },
    );
}

#[test]
fn keys_of_a_burst_give_their_room_back() {
    let mut keys = Keys::default();
    issued(&mut keys, BURST, 60);
    issued(&mut keys, 10, 120);
    keys.forget_expired(at(60));
    assert_eq!(
        keys.size().0,
        50_000,
        "valid to the end of their last second"
    );
    keys.forget_expired(at(60) + jiff::SignedDuration::from_millis(1));
    let (left, room) = keys.size();
    assert!(left == 10 && room < 10_000, "{left} of {room}");
    assert_eq!(keys.oldest_live(at(61)), Some(0));
}

#[test]
fn void_ends_though_no_key_does() {
    let mut keys = Keys::default();
    issued(&mut keys, 1, 120);
    let void = issuance(1, 60);
    keys.found_void(&Withheld::of(&void), Some(KeyUse::of(&void)));
    keys.forget_expired(at(60));
    assert!(keys.is_void(1), "valid to the end of its last second");
    keys.forget_expired(at(61));
    assert!(!keys.is_void(1) && keys.size().0 == 1);
}
