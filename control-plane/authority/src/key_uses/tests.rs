use std::collections::BTreeMap;

use countersign_footprint::{alone, kept_by};
use countersign_issue::profile::Profile;
use countersign_model::Serial;
use countersign_registry::Account;
use proptest::prelude::*;

use super::*;

const BURST: u64 = 50_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(crate) fn entry(index: u64) -> Coordinate {
    Coordinate::new(0x01_0000, index).unwrap()
}

pub(crate) fn issuance(index: u64, not_after: i64) -> Issuance {
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
        attested: None,
        order: index,
    }
}

fn issued(keys: &mut Keys, count: u64, not_after: i64) {
    (0..count).for_each(|index| keys.issued(&issuance(index, not_after)));
}

#[test]
fn key_costs_little_while_it_is_remembered() {
    alone(
        "key_uses::tests::key_costs_little_while_it_is_remembered",
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
    assert_eq!(keys.oldest_live(at(61)).into_values().min(), Some(0));
}

#[test]
fn void_ends_though_no_key_does() {
    let mut keys = Keys::default();
    issued(&mut keys, 1, 120);
    let void = issuance(1, 60);
    keys.found_void(&Undelivered::of(&void), Some(KeyUse::of(&void)));
    keys.forget_expired(at(60));
    assert!(
        keys.is_void(entry(1)),
        "valid to the end of its last second"
    );
    keys.forget_expired(at(61));
    assert!(!keys.is_void(entry(1)) && keys.size().0 == 1);
}

/// Share of each holder in a random run.
const SHARE: u32 = 3;

/// One thing that may happen to a key, of a few, of a few holders.
#[derive(Clone, Copy, Debug)]
enum Step {
    Claim(u8, u8),
    /// A certificate of so many seconds is given for a claim.
    Issue(u8, i64),
    /// A key that has a certificate is claimed for another one.
    Renew(u8),
    Release(u8),
    /// One of so many seconds is given to nobody.
    Undelivered(u8, i64),
    /// A start finds a certificate of a holder in the log.
    Find(u8, u8, i64),
    /// It is void.
    FindVoid(u8, u8, i64),
    /// So many seconds pass, then a tick.
    Time(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (key, holder, life) = (0..12_u8, 0..3_u8, 1..40_i64);
    let step = prop_oneof![
        6 => (key.clone(), holder.clone()).prop_map(|(key, holder)| Step::Claim(key, holder)),
        4 => (key.clone(), life.clone()).prop_map(|(key, life)| Step::Issue(key, life)),
        2 => key.clone().prop_map(Step::Renew),
        1 => key.clone().prop_map(Step::Release),
        2 => (key.clone(), life.clone()).prop_map(|(key, life)| Step::Undelivered(key, life)),
        1 => (key.clone(), holder.clone(), life.clone())
            .prop_map(|(key, holder, life)| Step::Find(key, holder, life)),
        1 => (key, holder, life)
            .prop_map(|(key, holder, life)| Step::FindVoid(key, holder, life)),
        3 => (0..30_i64).prop_map(Step::Time),
    ];
    proptest::collection::vec(step, 0..80)
}

/// A random run: the keys, what is under way and the time.
#[derive(Default)]
struct Run {
    keys: Keys,
    claimed: BTreeMap<u8, u8>,
    /// Whose the keys are that have a certificate, or had one.
    issued: BTreeMap<u8, u8>,
    index: u64,
    second: i64,
}

impl Run {
    fn new() -> Self {
        let mut run = Self::default();
        run.keys.take_of_one_at_most(SHARE);
        run
    }

    /// The next certificate for a key.
    fn issuance(&mut self, key: u8, holder: u8, life: i64) -> Issuance {
        self.index += 1;
        Issuance {
            spki_sha256: [key; 32],
            node: node_of(holder),
            ..issuance(self.index, self.second + life)
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Claim(key, holder) => self.claim(key, holder),
            Step::Issue(key, life) => {
                if let Some(holder) = self.claimed.remove(&key) {
                    let issuance = self.issuance(key, holder, life);
                    self.keys.issued(&issuance);
                    self.issued.insert(key, holder);
                }
            }
            Step::Renew(key) => self.renew(key),
            Step::Release(key) => {
                if self.claimed.remove(&key).is_some() {
                    self.keys.release(&[key; 32]).unwrap();
                }
            }
            Step::Undelivered(key, life) => {
                if let Some(holder) = self.claimed.remove(&key) {
                    let issuance = self.issuance(key, holder, life);
                    self.keys.undelivered(&Undelivered::of(&issuance));
                }
            }
            Step::Find(key, holder, life) => {
                let issuance = self.issuance(key, holder, life);
                self.keys.issued(&issuance);
                self.issued.insert(key, holder);
                self.claimed.remove(&key);
            }
            Step::FindVoid(key, holder, life) => {
                let void = self.issuance(key, holder, life);
                let used = Some(KeyUse::of(&void));
                self.keys.found_void(&Undelivered::of(&void), used);
            }
            Step::Time(seconds) => {
                self.second += seconds;
                self.keys.forget_expired(at(self.second));
            }
        }
    }

    /// A claim is refused for the share only where the share is taken.
    fn claim(&mut self, key: u8, holder: u8) {
        // One enrolment of an entitlement runs at a time.
        if self.claimed.get(&key) == Some(&holder) {
            return;
        }
        let (now, whose) = (at(self.second), HolderId::of(&node_of(holder), "node"));
        let before = self.held(&whose);
        match self.keys.claim_for([key; 32], whose, now) {
            Ok(None) => {
                self.claimed.insert(key, holder);
                assert!(self.held(&whose) <= SHARE.max(before), "within its share");
            }
            Err(AuthorityError::KeyShareTaken { most }) => {
                assert!(most == SHARE && before >= SHARE, "{before} before");
            }
            Ok(Some(_)) | Err(AuthorityError::Denied(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// A renewal takes no more of a share, and lets no other holder have the key.
    fn renew(&mut self, key: u8) {
        let is_free = !self.claimed.contains_key(&key);
        let Some(&holder) = self.issued.get(&key).filter(|_| is_free) else {
            return;
        };
        let (whose, other) = [holder, holder + 1]
            .map(|it| HolderId::of(&node_of(it), "node"))
            .into();
        let before = self.held(&whose);
        if self
            .keys
            .renew_for([key; 32], whose, at(self.second))
            .is_err()
        {
            return;
        }
        assert_eq!(self.held(&whose), before);
        let taken = self.keys.claim_for([key; 32], other, at(self.second));
        assert!(matches!(taken, Err(AuthorityError::Denied(_))), "{taken:?}");
        self.claimed.insert(key, holder);
    }

    fn held(&self, holder: &HolderId) -> u32 {
        let [counted, _] = self.keys.shares();
        counted.get(holder).copied().unwrap_or_default()
    }

    fn check(&self) {
        let [counted, found] = self.keys.shares();
        assert_eq!(counted, found);
    }
}

fn node_of(holder: u8) -> String {
    format!("spiffe://example.org/node/{holder}")
}

proptest! {
    #[test]
    fn counts_of_holders_are_what_the_table_holds(steps in steps()) {
        let mut run = Run::new();
        for step in steps {
            run.apply(step);
            run.check();
        }
        for key in run.claimed.keys() {
            run.keys.release(&[*key; 32]);
        }
        run.keys.forget_expired(at(run.second + 100));
        prop_assert!(run.keys.shares().iter().all(HashMap::is_empty));
    }
}

#[test]
fn counts_of_a_burst_give_their_room_back() {
    let mut keys = Keys::default();
    for index in 0..BURST {
        let node = index.to_string();
        keys.issued(&Issuance {
            node,
            ..issuance(index, 60)
        });
    }
    assert_eq!(keys.shares()[0].len(), 50_000);
    keys.forget_expired(at(61));
    let room = keys.shares.held().capacity();
    assert!(keys.shares.held().is_empty() && room < 10_000, "{room}");
}

/// A lifetime was made shorter between two certificates of one key.
#[test]
fn key_stays_taken_as_long_as_any_certificate_of_it() {
    let mut keys = Keys::default();
    let (long, short) = (issuance(1, 60), issuance(1, 30));
    keys.issued(&long);
    keys.issued(&short);
    let other = HolderId::of("spiffe://example.org/node/b", "node");
    let claim = |keys: &mut Keys, second| keys.claim_for(long.spki_sha256, other, at(second));
    assert!(claim(&mut keys, 45).is_err(), "the first is still valid");
    assert!(claim(&mut keys, 61).is_ok());
}

/// Two control planes logged one key for two holders: whoever was first in the order has it.
#[test]
fn key_that_was_logged_twice_is_its_first_holders() {
    let mut keys = Keys::default();
    let first = issuance(1, 60);
    let second = Issuance {
        node: "spiffe://example.org/node/b".to_owned(),
        spki_sha256: first.spki_sha256,
        ..issuance(2, 60)
    };
    assert!(keys.found(&first) && !keys.found(&second));
    assert_eq!(keys.certified_at(&first.spki_sha256, at(1)), Some(entry(1)));
    let later = Issuance {
        issued_at: at(61),
        ..second
    };
    assert!(keys.found(&later), "the first has ended");
}

/// Of two control planes that had a key certified at once, the one that logged it first has it.
#[test]
fn claimed_key_is_that_of_the_certificate_logged_first() {
    let theirs = Issuance {
        node: "spiffe://example.org/node/b".to_owned(),
        ..issuance(1, 60)
    };
    let key = theirs.spki_sha256;
    let own = HolderId::of("spiffe://example.org/node/a", "node");
    for is_logged_first in [true, false] {
        let (mut keys, claims) = (Keys::default(), Arc::default());
        keys.claims(&claims);
        keys.claim_for(key, own, at(0)).unwrap();
        if is_logged_first {
            claims.logged(&key);
        }
        assert_eq!(keys.found(&theirs), !is_logged_first);
        assert_eq!(keys.check_bound(&key, own, at(0)).is_ok(), is_logged_first);
        keys.release(&key);
        assert!(!claims.is_logged(&key), "a claim that is over is forgotten");
        claims.logged(&key);
        assert!(!claims.is_logged(&key), "nobody claims it");
    }
}
