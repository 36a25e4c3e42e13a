//! Replicas of which one has the root's key. What the other one does is made by hand here.

use countersign_ca::key::{CaKey, KeyStore};
use countersign_fleet::gate::GateOpen;
use countersign_issue::key::key_id;
use countersign_keys::DiskKeys;
use countersign_model::Seq;
use countersign_proto::log::entry::What;
use countersign_store::{Entry, Kind, Write};
use countersign_tests_postgres::shared;

use super::super::ca_requests::{Asker, CaRequested};
use super::super::ca_set::HeldKey;
use super::super::replicas::Replica;
use super::super::{AuthorityInfo, SlotState, StoreKind, stored_cas};
use super::owners::{keys, stored, with};
use super::*;

/// Past half of the life of the first issuing CA.
const DUE: i64 = 43_201;

/// The replica `a` of a database.
async fn replica() -> Plane {
    let url = shared().database().url().to_string();
    Plane::with(|settings| settings.store = database_at(&url)).await
}

/// Commits what another replica writes, and has it taken.
async fn commit(plane: &Plane, writes: Vec<Write>, now: Timestamp) -> Seq {
    let authority = &plane.authority;
    let seq = authority
        .store
        .commit(writes.clone(), Vec::new())
        .await
        .unwrap();
    let mut changes = Vec::new();
    for write in &writes {
        changes.extend(super::super::state::Change::read(write).unwrap());
    }
    authority.state.take(seq, changes, |_| ());
    authority.take_authorities(seq, &writes, now).unwrap();
    seq
}

fn joined(replica: &str) -> Write {
    let row = Replica::Joined {
        log_id: 7,
        since: start(),
    };
    Write::put(Kind::Replica, replica, &row)
}

/// A key that another replica has, and its request.
struct Other {
    _dir: tempfile::TempDir,
    key: Arc<dyn CaKey>,
}

impl Other {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = DiskKeys::new(dir.path()).create().unwrap();
        Self { _dir: dir, key }
    }

    fn asks(&self, plane: &Plane, replica: &str, now: Timestamp) -> Write {
        let root = plane.authority.tiers().roots.remove(0).key_id;
        let who = (plane.authority.trust_domain(), replica);
        let request = CaRequested::new(self.key.as_ref(), StoreKind::Disk, who, &root, now);
        Write::put(Kind::CaRequest, replica, &request.unwrap())
    }

    fn info(&self, plane: &Plane) -> Option<AuthorityInfo> {
        let all = plane.authority.tiers().issuing.into_iter();
        { all }.find(|it| it.key_id == self.key.key_id())
    }
}

async fn requests(plane: &Plane) -> Vec<String> {
    let entries = plane.authority.store.snapshot().await.unwrap().entries;
    let requests = entries.into_iter().filter(|it| it.kind == Kind::CaRequest);
    requests.map(|it| it.key).collect()
}

/// CA certificates in the log, and those of them that are void.
fn certified(plane: &Plane) -> (usize, usize) {
    let (mut cas, mut void) = (0, 0);
    for noted in plane.authority.ledger.log().scan(0) {
        match noted.unwrap().what() {
            Some(What::Issued(it)) if it.profile == "issuing-ca" => cas += 1,
            Some(What::Voided(_)) => void += 1,
            _ => {}
        }
    }
    (cas, void)
}

#[tokio::test]
async fn replica_with_the_root_certifies_another() {
    let plane = replica().await;
    let own = plane.authority.tiers().issuing.remove(0);
    let other = Other::new();
    let asks = vec![joined("b"), other.asks(&plane, "b", after(1))];
    commit(&plane, asks, after(1)).await;
    plane.authority.tick(after(2)).await.unwrap();

    let made = other.info(&plane).unwrap();
    assert_eq!((&*made.replica, made.state), ("b", SlotState::Active));
    assert_eq!(made.issued_by, plane.authority.tiers().roots[0].key_id);
    assert!(
        requests(&plane).await.is_empty(),
        "answered in the same commit"
    );
    assert!(stored(&plane).await.contains_key(other.key.key_id()));
    let issuing = plane.authority.tiers().issuing.into_iter();
    let ours: Vec<_> = issuing.filter(|it| it.replica == "a").collect();
    assert_eq!((ours.len(), &ours[0].key_id), (1, &own.key_id));
    assert_eq!((ours[0].state, keys(&plane)), (SlotState::Active, 2));
    assert_eq!(certified(&plane), (2, 0));
    // The log says whose it is.
    let entries = plane.authority.ledger.log().scan(0);
    let owners = entries.filter_map(|noted| match noted.unwrap().what() {
        Some(What::Issued(it)) if it.profile == "issuing-ca" => Some(it.owner.clone()),
        _ => None,
    });
    assert_eq!(owners.collect::<Vec<_>>(), ["a", "b"]);
    let plane = plane.restart(after(3)).await;
    assert_eq!(other.info(&plane).unwrap().state, SlotState::Active);
    assert!(plane.authority.obstacles(after(3)).is_empty());
}

/// One that asks without end has one certificate a minute; a stranger has none.
#[tokio::test]
async fn replica_gone_mad_does_not_fill_the_log() {
    let plane = replica().await;
    commit(&plane, vec![joined("b")], after(1)).await;
    for secs in 2..12 {
        let (other, stranger) = (Other::new(), Other::new());
        let asks = vec![
            other.asks(&plane, "b", after(secs)),
            stranger.asks(&plane, "z", after(secs)),
        ];
        commit(&plane, asks, after(secs)).await;
        plane.authority.tick(after(secs)).await.unwrap();
    }
    assert_eq!(certified(&plane), (2, 0));
    plane.authority.tick(after(62)).await.unwrap();
    assert_eq!(certified(&plane), (3, 0), "its newest request");
    assert_eq!(requests(&plane).await, ["z"]);
    let sealed = Replica::Sealed {
        log_id: 7,
        since: start(),
        size: 0,
        root_hash: String::new(),
    };
    let other = Other::new();
    let asks = vec![
        Write::put(Kind::Replica, "b", &sealed),
        other.asks(&plane, "b", after(200)),
    ];
    commit(&plane, asks, after(200)).await;
    plane.authority.tick(after(200)).await.unwrap();
    assert!(other.info(&plane).is_none(), "it was sealed");
    // What nobody makes anew is forgotten.
    plane.authority.tick(after(2 * 86_400)).await.unwrap();
    assert!(requests(&plane).await.is_empty());
}

#[tokio::test]
async fn unproven_key_is_not_certified() {
    let plane = replica().await;
    let (other, thief) = (Other::new(), Other::new());
    // What `c` proved of its key, under the name of `b`.
    let proven = other.asks(&plane, "c", after(1));
    let stolen = Write {
        key: "b".to_owned(),
        ..proven
    };
    let exchanged = with(
        &thief.asks(&plane, "d", after(1)),
        "spki",
        &hex::encode(other.key.spki()),
    );
    let asks = vec![joined("b"), joined("d"), stolen, exchanged];
    commit(&plane, asks, after(1)).await;
    plane.authority.tick(after(2)).await.unwrap();
    assert_eq!(certified(&plane), (1, 0));
    assert!(
        requests(&plane).await.is_empty(),
        "both are refused for good"
    );
    // The key of a CA is nobody's to ask for, whoever has it.
    let root = plane.authority.tiers().roots.remove(0).key_id;
    let key = DiskKeys::new(&plane.dir.path().join("cp/keys")).load(&root, &[]);
    let (key, _dir) = (key.unwrap(), tempfile::tempdir().unwrap());
    let asks = Other { _dir, key }.asks(&plane, "b", after(100));
    commit(&plane, vec![asks], after(100)).await;
    plane.authority.tick(after(101)).await.unwrap();
    assert_eq!(certified(&plane), (1, 0));
    assert!(requests(&plane).await.is_empty());
}

/// The request was withdrawn or made anew under way: its certificate is void, and the key is left to
/// the one that has it.
#[tokio::test]
async fn answer_to_another_request_is_void() {
    let plane = replica().await;
    let other = Other::new();
    let asks = vec![joined("b"), other.asks(&plane, "b", after(1))];
    commit(&plane, asks, after(1)).await;
    let anew = vec![other.asks(&plane, "b", after(2))];
    let committed = plane.authority.store.commit(anew.clone(), Vec::new()).await;
    let seq = committed.unwrap();
    plane.authority.tick(after(2)).await.unwrap();
    assert!(other.info(&plane).is_none());
    // A void certificate, and the change that it was for.
    assert_eq!(certified(&plane), (2, 2));
    assert_eq!(requests(&plane).await, ["b"]);
    plane
        .authority
        .take_authorities(seq, &anew, after(3))
        .unwrap();
    plane.authority.tick(after(63)).await.unwrap();
    assert_eq!(other.info(&plane).unwrap().replica, "b");
}

/// The root's key, as if another replica had it.
struct Away {
    key: Arc<dyn CaKey>,
    file: PathBuf,
    pem: Vec<u8>,
}

/// Takes the root's key away from a replica.
async fn without_root(plane: Plane, now: Timestamp) -> (Plane, Away) {
    let root = plane.authority.tiers().roots.remove(0).key_id;
    let folder = plane.dir.path().join("cp/keys");
    let key = DiskKeys::new(&folder).load(&root, &[]).unwrap();
    let file = folder.join(format!("{root}.pem"));
    let pem = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    (plane.restart(now).await, Away { key, file, pem })
}

/// What the replica that has the root's key commits for whom asked it.
async fn answer(plane: &Plane, root: &Away, now: Timestamp) -> Vec<Write> {
    let asked = stored_request(plane).await;
    let authority = &plane.authority;
    let asker = Asker {
        replica: "a".to_owned(),
        key_id: key_id(&spki_of(&asked)),
        spki: spki_of(&asked),
        store: StoreKind::Disk,
        asked: Seq(1),
    };
    let present = authority.hierarchy.read().clone();
    let mut next = present.clone();
    let held = HeldKey {
        store: StoreKind::Disk,
        key: root.key.clone(),
    };
    next.keys.insert(root.key.key_id().to_owned(), held);
    authority
        .certify_asker(&mut next, &asker, now)
        .await
        .unwrap();
    let mut writes = stored_cas::changes(&present.authorities, &next.authorities);
    writes.push(Write::remove(Kind::CaRequest, "a"));
    writes.push(Write::put(
        Kind::Meta,
        "bundle_sequence",
        &authority.bundle().1,
    ));
    writes
}

#[tokio::test]
async fn replica_without_the_root_asks_and_is_answered() {
    let (plane, root) = without_root(replica().await, after(1)).await;
    let before = plane.authority.tiers().issuing.remove(0);
    plane.authority.tick(after(2)).await.unwrap();
    assert!(requests(&plane).await.is_empty(), "nothing is due");
    assert!(plane.authority.ca_warnings(after(DUE + 70)).is_empty());
    for secs in [DUE, DUE + 1, DUE + 2] {
        plane.authority.tick(after(secs)).await.unwrap();
    }
    assert_eq!(requests(&plane).await, ["a"]);
    assert_eq!(keys(&plane), 2, "of the issuing CA, and the one asked for");
    assert!(plane.authority.ca_warnings(after(DUE + 59)).is_empty());
    let told = plane.authority.ca_warnings(after(DUE + 60)).join("\n");
    assert!(told.contains(&before.not_after.to_string()), "{told}");
    let status = plane.authority.issuing_replica(after(DUE + 2));
    assert_eq!((&*status.name, status.signer), ("a", None));
    assert_eq!(status.awaits_since, Some(after(DUE)));
    assert_eq!(status.issues_until, Some(before.not_after));
    // The one before goes on meanwhile.
    assert!(plane.authority.obstacles(after(DUE)).is_empty());
    let asked = stored_request(&plane).await;
    let plane = plane.restart(after(DUE + 3)).await;
    plane.authority.tick(after(DUE + 4)).await.unwrap();
    assert_eq!(stored_request(&plane).await, asked, "it stands");

    let writes = answer(&plane, &root, after(DUE + 5)).await;
    commit(&plane, writes, after(DUE + 6)).await;
    let issuing = plane.authority.tiers().issuing;
    let states: Vec<_> = issuing.iter().map(|it| (it.state, &*it.replica)).collect();
    assert_eq!(
        states,
        [(SlotState::Active, "a"), (SlotState::Retired, "a")]
    );
    assert_eq!(keys(&plane), 1, "the key of the one before is destroyed");
    assert!(plane.authority.ca_warnings(after(DUE + 70)).is_empty());
    let server = plane
        .authority
        .server_identity(after(DUE + 7))
        .await
        .unwrap();
    assert_eq!(server.chain[1], issuing[0].certificate);
    let plane = plane.restart(after(DUE + 8)).await;
    let server = plane
        .authority
        .server_identity(after(DUE + 9))
        .await
        .unwrap();
    assert_eq!(server.chain[1], issuing[0].certificate);
}

/// It stops nobody: its replica asks anew, and others leave it alone.
#[tokio::test]
async fn request_that_does_not_read_is_none() {
    let (plane, _) = without_root(replica().await, after(1)).await;
    plane.authority.tick(after(DUE)).await.unwrap();
    let damaged = |replica| Write::put(Kind::CaRequest, replica, &"none");
    commit(&plane, vec![joined("b"), damaged("b")], after(DUE)).await;
    let seq = plane.authority.store.commit(vec![damaged("a")], Vec::new());
    seq.await.unwrap();
    let plane = plane.restart(after(DUE + 1)).await;
    let made_anew = stored_request(&plane).await;
    assert_eq!(hex::encode(spki_of(&made_anew)).len(), 182);
}

async fn stored_request(plane: &Plane) -> Write {
    let entries = plane.authority.store.snapshot().await.unwrap().entries;
    let is_ours = |it: &Entry| it.kind == Kind::CaRequest && it.key == "a";
    let asked = { entries.into_iter() }.find(is_ours);
    asked.unwrap().into_write()
}

/// Another activated a root: what is ours retires, and is asked for under the new one.
#[tokio::test]
async fn retired_issuing_ca_is_asked_for_again() {
    let (plane, _) = without_root(replica().await, after(1)).await;
    let before = stored(&plane).await;
    let (root, issuing) = {
        let tiers = plane.authority.tiers();
        (
            tiers.roots[0].key_id.clone(),
            tiers.issuing[0].key_id.clone(),
        )
    };
    let other = Plane::new().await;
    let new_root = other.authority.tiers().roots.remove(0).key_id;
    let writes = vec![
        with(&before[&root], "state", "retired"),
        with(&before[&issuing], "state", "retired"),
        stored(&other).await[&new_root].clone(),
        Write::put(Kind::Meta, "ca_signer", &"b"),
        Write::put(Kind::Meta, "bundle_sequence", &2_u64),
    ];
    commit(&plane, writes, after(2)).await;
    assert_eq!(keys(&plane), 0);
    plane.authority.tick(after(3)).await.unwrap();
    let asked = stored_request(&plane).await;
    assert!(asked.value.as_deref().unwrap().contains(&new_root));
    let obstacles = plane.authority.obstacles(after(3)).join("\n");
    assert!(obstacles.contains("replica b"), "{obstacles}");
    let status = plane.authority.issuing_replica(after(3));
    assert_eq!(status.signer.as_deref(), Some("b"));
    assert_eq!(
        (status.awaits_since, status.issues_until),
        (Some(after(3)), None)
    );
    assert!(plane.authority.server_identity(after(3)).await.is_err());

    // It is dropped unanswered: the key is destroyed, and another one asked for.
    let dropped = vec![Write::remove(Kind::CaRequest, "a")];
    commit(&plane, dropped, after(4)).await;
    assert_eq!(keys(&plane), 0);
    plane.authority.tick(after(5)).await.unwrap();
    let again = stored_request(&plane).await;
    assert_ne!(spki_of(&again), spki_of(&asked));
    assert_eq!(keys(&plane), 1);
}

fn spki_of(request: &Write) -> Vec<u8> {
    let fields: serde_json::Value = request.read().unwrap().unwrap();
    hex::decode(fields["spki"].as_str().unwrap()).unwrap()
}

/// The root's key is brought here: what was asked for is not needed any more.
#[tokio::test]
async fn root_key_that_is_brought_signs_here() {
    let (plane, root) = without_root(replica().await, after(1)).await;
    plane.authority.tick(after(DUE)).await.unwrap();
    assert_eq!(requests(&plane).await, ["a"]);
    let before = stored_request(&plane).await;
    let asked = plane.authority.rotate_issuing(after(DUE + 1)).await;
    assert_eq!(code(asked), "issuing_ca_asked");
    assert_eq!(stored_request(&plane).await, before, "once is enough");
    std::fs::write(&root.file, &root.pem).unwrap();
    plane.authority.tick(after(DUE + 20)).await.unwrap();
    assert!(requests(&plane).await.is_empty());
    let issuing = plane.authority.tiers().issuing;
    assert_eq!(issuing[0].state, SlotState::Active);
    assert_eq!(
        (issuing.len(), keys(&plane)),
        (2, 2),
        "nothing is left of it"
    );
    assert_eq!(certified(&plane), (2, 0));
}

/// The root's key is lost with its replica: a new root is made here, and goes its usual way.
#[tokio::test]
async fn lost_root_is_followed_by_a_new_one() {
    let (plane, _) = without_root(replica().await, after(1)).await;
    let root = plane.authority.prepare_root(after(2)).await.unwrap();
    assert!(plane.authority.can_activate());
    let bundle = plane.authority.bundle().0.version().to_owned();
    let gate = GateOpen::for_test(&bundle);
    plane.authority.activate_root(gate, after(3)).await.unwrap();
    let issuing = plane.authority.tiers().issuing.remove(0);
    assert_eq!(
        (issuing.state, &issuing.issued_by),
        (SlotState::Active, &root.key_id)
    );
    plane.authority.tick(after(DUE + 60)).await.unwrap();
    assert!(requests(&plane).await.is_empty());
    let status = plane.authority.issuing_replica(after(DUE + 61));
    assert_eq!(status.signer.as_deref(), Some("a"));
}

/// A root that another replica prepared waits for that one, who has its key.
#[tokio::test]
async fn prepared_root_is_activated_by_who_has_its_key() {
    let plane = replica().await;
    let other = Plane::new().await;
    let root = other.authority.tiers().roots.remove(0).key_id;
    let prepared = with(&stored(&other).await[&root], "state", "prepared");
    let sequence = Write::put(Kind::Meta, "bundle_sequence", &2_u64);
    commit(&plane, vec![prepared, sequence], after(1)).await;
    assert!(!plane.authority.can_activate());
    let dropped = vec![
        Write::remove(Kind::Authority, root),
        Write::put(Kind::Meta, "bundle_sequence", &3_u64),
    ];
    commit(&plane, dropped, after(2)).await;
    plane.authority.prepare_root(after(3)).await.unwrap();
    assert!(plane.authority.can_activate());
}

/// A token that replicas share may hold the key of another, which asks for its certificate again.
#[tokio::test]
async fn void_ca_of_another_replica_keeps_its_key() {
    let plane = replica().await;
    let authority = &plane.authority;
    let mut issuances = authority.ledger.log().scan(0).filter_map(|noted| {
        let index = noted.unwrap().index();
        authority.ledger.log().read_back(index).unwrap()
    });
    let mut issuance = issuances.next().unwrap().issuance().clone();
    let stores = authority.hierarchy.stores();
    let (kept, ours) = [(); 2]
        .map(|()| stores.create(StoreKind::Disk).unwrap())
        .into();
    assert_eq!(keys(&plane), 4);
    for (key, owner) in [(&kept, "b"), (&ours, "a")] {
        issuance.account.owner = owner.to_owned();
        issuance.spki_sha256 = Sha256::digest(key.spki()).into();
        authority.destroy_unfinished(&issuance);
    }
    let holds = |key: &Arc<dyn CaKey>| stores.holds(StoreKind::Disk, key.key_id(), key.spki());
    assert!(holds(&kept).unwrap() && !holds(&ours).unwrap());
}
