//! The root's key goes from one control plane to the other.

use countersign_issue::profile::Tier;

use super::super::super::GivenKey;
use super::super::owners::keys;
use super::*;

fn code(error: AuthorityError) -> &'static str {
    match error {
        AuthorityError::Denied(denied) => denied.code,
        other => panic!("{other}"),
    }
}

/// Waits until one knows what the other does.
async fn follow(one: &Plane, other: &Plane) {
    let reached = one.authority.reach(other.authority.stamp().sequence).await;
    assert_eq!(reached, Reached::Here);
}

/// What is given, to be taken.
fn carried(given: &[GivenKey]) -> Vec<zeroize::Zeroizing<Vec<u8>>> {
    given.iter().map(|it| it.pkcs8.clone()).collect()
}

/// The one that took it certifies the issuing CA of the one that gave it away, and activates the root
/// that waits; a restart of both changes nothing.
#[tokio::test]
async fn key_of_the_root_moves_to_another_replica() {
    let Two {
        _database,
        mut a,
        mut b,
    } = Two::with(false).await;
    a.authority.tick(after(1)).await.unwrap();
    let prepared = a.authority.prepare_root(after(2)).await.unwrap();
    assert_eq!((keys(&a), keys(&b)), (3, 1));

    let given = a.authority.give_keys().await.unwrap();
    let moved: Vec<_> = given.iter().map(|it| it.moved.clone()).collect();
    assert_eq!(moved.len(), 2);
    assert!(moved.iter().all(|it| it.tier == Tier::Root));
    assert!(moved.iter().any(|it| it.key_id == prepared.key_id));
    assert_eq!(keys(&a), 3, "given out, and still here");
    let ids: Vec<_> = moved.iter().map(|it| it.key_id.clone()).collect();
    a.authority.forget_keys(ids.clone()).await.unwrap();
    a.authority.forget_keys(ids).await.unwrap();
    assert_eq!(keys(&a), 1, "its issuing CA's stays");
    let none = a.authority.give_keys().await.unwrap_err();
    assert!(none.to_string().contains("a signed an issuing CA last"));
    assert_eq!(code(none), "no_key_here");

    follow(&b, &a).await;
    for _ in 0..2 {
        let taken = b.authority.take_keys(carried(&given)).await.unwrap();
        assert_eq!(taken, moved);
    }
    assert_eq!(keys(&b), 3);
    (a, b) = (a.restart(after(3)).await, b.restart(after(3)).await);

    // Past half of the life of its issuing CA `a` asks for the next, and `b` answers.
    let due = after(43_300);
    let before = a.authority.issuing_replica(due).issues_until;
    a.authority.tick(due).await.unwrap();
    follow(&b, &a).await;
    b.authority.tick(due).await.unwrap();
    follow(&a, &b).await;
    let known = a.authority.issuing_replica(due);
    assert!(known.issues_until > before, "{known:?} after {before:?}");
    assert_eq!(known.signer.as_deref(), Some("b"));
}

/// Nobody becomes a CA by bringing a key; and where one key is none, no other is kept.
#[tokio::test]
async fn key_of_no_ca_is_not_taken() {
    let two = Two::with(false).await;
    let given = two.a.authority.give_keys().await.unwrap();
    let stranger = KeyPair::generate().unwrap().serialize_der();
    let mut all = carried(&given);
    all.push(zeroize::Zeroizing::new(stranger));
    let before = keys(&two.b);
    let refused = two.b.authority.take_keys(all).await.unwrap_err();
    assert_eq!(code(refused), "key_of_no_ca");
    // The key of an issuing CA moves nowhere.
    let issuing = two.b.authority.tiers().issuing.remove(0).key_id;
    let folder = |plane: &Plane| plane.dir.path().join("cp/keys");
    let of = |plane: &Plane, key_id: &str| {
        let pem = std::fs::read_to_string(folder(plane).join(format!("{key_id}.pem")));
        KeyPair::from_pem(&pem.unwrap()).unwrap().serialize_der()
    };
    let own = two.a.authority.tiers().issuing;
    let own = own.iter().find(|it| it.replica == "a").unwrap();
    let theirs = zeroize::Zeroizing::new(of(&two.a, &own.key_id));
    let refused = two.b.authority.take_keys(vec![theirs]).await.unwrap_err();
    assert_eq!(code(refused), "key_of_no_ca");
    two.a
        .authority
        .forget_keys(vec![own.key_id.clone(), issuing])
        .await
        .unwrap();
    assert_eq!(keys(&two.a), 2, "and is destroyed by nobody's word");
    for no_key in [&b""[..], b"0123", &[0x30; 4096]] {
        let no_key = zeroize::Zeroizing::new(no_key.to_vec());
        let refused = two.b.authority.take_keys(vec![no_key]).await.unwrap_err();
        assert_eq!(code(refused), "key_unreadable");
    }
    assert_eq!(keys(&two.b), before);
}

#[tokio::test]
async fn control_plane_that_is_alone_moves_no_key() {
    let plane = Plane::with(|settings| settings.store = StoreSettings::Sqlite).await;
    let given = plane.authority.give_keys().await.unwrap_err();
    assert_eq!(code(given), "not_several");
    let taken = plane.authority.take_keys(Vec::new()).await.unwrap_err();
    assert_eq!(code(taken), "not_several");
    let root = plane.authority.tiers().roots.remove(0).key_id;
    let forgotten = plane.authority.forget_keys(vec![root]).await.unwrap_err();
    assert_eq!(code(forgotten), "not_several");
    assert_eq!(keys(&plane), 2);
}
