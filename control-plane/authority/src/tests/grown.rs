//! A database that was put back, and grew beyond what was lost before a control plane starts again.

use countersign_store::Shared;
use countersign_store::memory::{Direct, MemoryDatabase};

use super::super::Reached;
use super::stale::member;
use super::*;

async fn again(plane: Plane, database: &MemoryDatabase, now: Timestamp) -> Plane {
    let Plane { dir, authority } = plane;
    let settings = authority.settings.clone();
    drop(authority);
    let opened = async {
        loop {
            let reached: Arc<dyn Shared> = Arc::new(database.reached(Arc::new(Direct)));
            match Authority::open_in(settings.clone(), Some(reached), now).await {
                Err(AuthorityError::Denied(denied)) if denied.code == "data_dir_in_use" => {
                    tokio::task::yield_now().await;
                }
                opened => return opened.unwrap(),
            }
        }
    };
    let authority = tokio::time::timeout(MINUTE, opened).await.unwrap();
    Plane { dir, authority }
}

/// What was lost was of `c`, `b` knew it as it ended, and `a` writes in its place.
#[tokio::test]
async fn inventory_of_what_a_database_lost_hides_nothing() {
    let database = MemoryDatabase::default();
    let a = member(&database, Arc::new(Direct), ("a", None)).await;
    let mut joined = Vec::new();
    for name in ["b", "c"] {
        let invited = a.authority.invite_replica(name, 10 * MINUTE, start()).await;
        let its = (name, Some(invited.unwrap().0));
        joined.push(member(&database, Arc::new(Direct), its).await);
    }
    let [b, c] = <[Plane; 2]>::try_from(joined).unwrap_or_else(|_| panic!("there are two"));
    // `c` is given an issuing CA.
    a.authority.tick(after(1)).await.unwrap();
    let web = a.register(registration("/web", "/node/a")).await;
    let node = a.attest("/node/a").await;
    for plane in [&b, &c] {
        let sequence = a.authority.stamp().sequence;
        assert_eq!(plane.authority.reach(sequence).await, Reached::Here);
    }
    let held = database.held();
    let mut lost = c.enrol(&node, &web).await;
    for _ in 0..4 {
        lost = c.enrol(&node, &web).await;
    }
    let is_shown = || {
        b.authority
            .published(&lost.node, &web)
            .is_some_and(|it| it.serial == lost.serial)
    };
    let shown = async {
        while !is_shown() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, shown).await.unwrap();
    for _ in 0..2 {
        b.authority.save_inventory(after(2), false).await.unwrap();
    }
    let taken = b.authority.stamp().sequence;
    let ended = b.authority.store.is_stopped();
    assert!(!ended);
    let Plane { dir, authority } = b;
    let settings = authority.settings.clone();
    drop((c, authority));
    database.put_back(held);

    let a = again(a, &database, after(3)).await;
    let given = a.enrol(&node, &web).await;
    assert!(given.order <= taken, "it has a place of what was lost");
    while a.authority.stamp().sequence <= taken {
        let id = id("/node/b");
        a.authority
            .create_token(&id, MINUTE, after(3))
            .await
            .unwrap();
    }
    let reached: Arc<dyn Shared> = Arc::new(database.reached(Arc::new(Direct)));
    let authority = Authority::open_in(settings, Some(reached), after(4)).await;
    let b = Plane {
        dir,
        authority: authority.unwrap(),
    };
    let found = b
        .authority
        .published(&given.node, &web)
        .expect("it is not hidden");
    assert_eq!(found.serial, given.serial);
}
