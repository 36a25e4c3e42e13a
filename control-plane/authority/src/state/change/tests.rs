//! The ways to a state agree: what was written here, what a restart and a restore find, and what
//! somebody comes to who follows the commits.

use std::collections::BTreeMap;

use countersign_backup::unpack;
use countersign_fleet::elsewhere::Lacking;
use countersign_restore::take_over;
use countersign_store::{DataDir, Store};
use proptest::prelude::*;

use super::*;
use crate::tests::{Bytes, MINUTE, Plane, after, id, registration, start};
use crate::{Act, Authority, Eviction, Mode, RegistrationRequest};

/// Something that changes the state. Numbers choose one of a few names.
#[derive(Clone, Debug)]
enum Step {
    Register(u8, u8, Option<u64>, Option<i64>),
    Unregister(u8),
    CreateToken(u8),
    Attest(u8),
    Evict(u8, bool),
    Unban(u8),
    Waive(u8),
    Unwaive(u8),
    /// A node has the bundle of the prepared root, or its proxy lacks it.
    Tell(u8, bool),
    /// Hours go by.
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let few = || 0..3_u8;
    prop_oneof![
        (
            few(),
            few(),
            prop::option::of(60_u64..120),
            prop::option::of(1_i64..40)
        )
            .prop_map(|(workload, node, ttl, end)| Step::Register(workload, node, ttl, end)),
        few().prop_map(Step::Unregister),
        few().prop_map(Step::CreateToken),
        few().prop_map(Step::Attest),
        (few(), any::<bool>()).prop_map(|(node, is_ban)| Step::Evict(node, is_ban)),
        few().prop_map(Step::Unban),
        few().prop_map(Step::Waive),
        few().prop_map(Step::Unwaive),
        (few(), any::<bool>()).prop_map(|(node, has_it)| Step::Tell(node, has_it)),
        (1..30_u8).prop_map(Step::Wait),
    ]
}

/// Does a step at an hour. Many come to nothing: what is refused changes nothing.
async fn take(plane: &Plane, step: Step, hour: &mut i64) {
    let authority = &plane.authority;
    let node = |n| id(&format!("/node/{n}"));
    let now = after(*hour * 3_600);
    let act = || Act {
        reason: crate::Reason::new("key copied").unwrap(),
        operator: "uid 0".to_owned(),
    };
    match step {
        Step::Register(workload, at, ttl, end) => {
            let mut wanted = registration(&format!("/w/{workload}"), &format!("/node/{at}"));
            wanted.x509_ttl = ttl.map(|ttl| MINUTE * u32::try_from(ttl).unwrap());
            wanted.expires_at = end.map(|hours| after((*hour + hours) * 3_600));
            let request = RegistrationRequest {
                registration: wanted,
                names_criticality: true,
                mode: Mode::Replace,
            };
            drop(authority.register(request, false, now).await);
        }
        Step::Unregister(workload) => {
            let workload = id(&format!("/w/{workload}"));
            drop(authority.unregister(&workload, None, now).await);
        }
        Step::CreateToken(n) => drop(authority.create_token(&node(n), 10 * MINUTE, now).await),
        Step::Attest(n) => {
            let token = authority.create_token(&node(n), 10 * MINUTE, now).await;
            let key = crate::tests::proven(&crate::tests::fresh_key(), &EntitlementId::node());
            if let Ok((token, _)) = token {
                drop(authority.attest_join_token(&token, &key, now).await);
            }
        }
        Step::Evict(n, is_ban) => {
            let (node, act) = (node(n), act());
            drop(authority.evict(Eviction { node, act, is_ban }, now).await);
        }
        Step::Unban(n) => drop(authority.unban(&node(n), act(), now).await),
        Step::Waive(n) => {
            let consumers = vec![n.to_string()];
            drop(authority.waive(consumers, 60 * MINUTE, act(), now).await);
        }
        Step::Unwaive(n) => {
            let operator = "uid 0".to_owned();
            drop(authority.unwaive(n.to_string(), operator, now).await);
        }
        Step::Tell(n, has_it) => {
            let rows = vec![(node(n), row(&node(n), has_it))];
            drop(authority.tell_acknowledged(rows).await);
        }
        Step::Wait(hours) => {
            *hour += i64::from(hours);
            authority.tick(after(*hour * 3_600)).await.unwrap();
        }
    }
}

fn row(node: &SpiffeId, has_it: bool) -> Acknowledged {
    let proxy = Lacking {
        name: format!("{node} proxy"),
        connected: true,
        until: None,
    };
    Acknowledged {
        replica: "b".to_owned(),
        bundle_version: "v2".to_owned(),
        connected: true,
        waiting: Some(proxy).filter(|_| !has_it).into_iter().collect(),
        more: 0,
    }
}

type Told = BTreeMap<String, String>;

/// Everything of a state that is stored, with the commits that count.
fn told(state: &State) -> Told {
    let registrations = state.registry.page(None, usize::MAX).into_iter();
    let registrations = registrations.cloned().map(Change::registered);
    let tombstones = state.registry.tombstones.iter().filter_map(|(key, until)| {
        Change::buried(Tombstone {
            node: key.node.clone(),
            entitlement: key.entitlement.to_string(),
            until,
        })
    });
    let bans = state.bans.iter();
    let bans = bans.map(|(id, ban)| Change::Ban(id.clone(), Some(ban.clone())));
    let waivers = state.waivers.iter();
    let waivers = waivers.map(|(it, waiver)| Change::Waiver(it.clone(), Some(waiver.clone())));
    let tokens = state.tokens.iter().map(|(hash, known)| {
        let change = Change::Token(hash.clone(), Some(known.token.clone()));
        (change, known.seq)
    });
    let nodes = state.nodes.ids().map(|id| {
        let seq = Seq(state.nodes.attestation(id).unwrap().lineage);
        let node = state.nodes.stored(id).cloned();
        (Change::Node(id.clone(), node), seq)
    });
    let rows = state.acknowledged.iter();
    let rows = rows.map(|(node, row)| Change::Acknowledged(node.clone(), Some(row.clone())));
    let without = registrations.chain(tombstones).chain(bans).chain(waivers);
    let without = without.chain(rows);
    let all = without
        .map(|change| (change, Seq(0)))
        .chain(tokens)
        .chain(nodes);
    let lines = all.map(|(change, seq)| {
        let Write { kind, key, value } = change.write();
        (
            format!("{kind:?} {key}"),
            format!("{} {}", seq.0, value.unwrap()),
        )
    });
    lines.collect()
}

fn empty(authority: &Authority) -> State {
    let registry = &authority.state.read().registry;
    State::new(registry.defaults(), authority.settings.policy.clone())
}

/// Where somebody comes to who takes every commit in its turn.
async fn followed(authority: &Authority) -> Told {
    let (mut state, mut seen) = (empty(authority), Seq(0));
    loop {
        let next = authority.store.changes_after(seen).await.unwrap().unwrap();
        let Some(last) = next.last() else {
            return told(&state);
        };
        seen = last.seq;
        for commit in &next {
            for write in &commit.writes {
                if let Some(change) = Change::read(write).unwrap() {
                    state.apply(commit.seq, change);
                }
            }
        }
    }
}

/// What a restore makes of a backup: unused tokens are no part of it.
async fn restored(plane: &Plane, hour: i64) -> (Told, Told) {
    let now = after(hour * 3_600);
    let bytes = Bytes::default();
    let backup = plane.authority.back_up(false, bytes.clone(), now).await;
    backup.unwrap();
    let draft = plane.dir.path().join("restored");
    std::fs::create_dir(&draft).unwrap();
    unpack(bytes.0.lock().unwrap().as_slice(), &draft).unwrap();
    let data_dir = DataDir::open(&draft).unwrap();
    let entropy = plane.authority.settings.entropy.clone();
    take_over(&data_dir, entropy, now).await.unwrap();
    let (store, _) = Store::open(&data_dir).await.unwrap();
    let mut state = empty(&plane.authority);
    for entry in store.snapshot().await.unwrap().entries {
        let seq = entry.seq;
        if let Some(change) = Change::read(&entry.into_write()).unwrap() {
            state.apply(seq, change);
        }
    }
    let mut expected = told(&plane.authority.state.read());
    expected.retain(|key, value| !key.starts_with("Token ") || !value.contains("\"used_at\":null"));
    (told(&state), expected)
}

async fn agree(steps: Vec<Step>) {
    let (plane, mut hour) = (Plane::new().await, 0);
    plane.authority.prepare_root(start()).await.unwrap();
    for step in steps {
        take(&plane, step, &mut hour).await;
    }
    let now = after(hour * 3_600);
    plane.authority.tick(now).await.unwrap();
    let own = told(&plane.authority.state.read());
    assert_eq!(followed(&plane.authority).await, own, "whoever follows");
    let (state, expected) = restored(&plane, hour).await;
    assert_eq!(state, expected, "a restore");
    let plane = plane.restart(now).await;
    assert_eq!(told(&plane.authority.state.read()), own, "a restart");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_way_to_a_state_leads_to_the_same(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(agree(steps));
    }
}

/// What a write says is what is read of it.
#[test]
fn change_is_read_as_it_was_written() {
    let kept = Kept {
        registration: registration("/w/a", "/node/a"),
        key_epoch: 7,
        raised_at: None,
        began: None,
    };
    let tombstone = Tombstone::of(&kept.registration, None, start()).unwrap();
    for change in [
        Change::registered(kept.clone()),
        Change::buried(tombstone.clone()).unwrap(),
        Change::Tombstone(tombstone.key().unwrap(), None),
        Change::Registration(kept.registration.key.entitlement_id(), None),
        Change::Node(id("/node/a"), None),
        Change::Waiver("a consumer".to_owned(), None),
        Change::Acknowledged(id("/node/a"), None),
        Change::Acknowledged(id("/node/a"), Some(row(&id("/node/a"), false))),
    ] {
        let read = Change::read(&change.write()).unwrap();
        assert_eq!(read, Some(change));
    }
    let damaged = Write::put(Kind::Node, "not an id", &1);
    assert!(matches!(
        Change::read(&damaged),
        Err(StoreError::Damaged { .. })
    ));
}
