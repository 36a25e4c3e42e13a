//! What others commit, handed over from a real server.

use super::*;
use crate::Committed;
use crate::tests::handing::{Record, until_seen};

fn commit(name: &str, n: u64) -> Commit {
    let entry = LogEntry {
        log_id: name.len().try_into().unwrap(),
        index: n,
        bytes: format!("{name} {n}").into_bytes(),
    };
    let signature = crate::LogSignature {
        log_id: entry.log_id,
        index: n,
        bytes: vec![1],
    };
    Commit {
        writes: vec![put(&format!("{name}{n}"), 1)],
        entries: vec![entry],
        signatures: vec![signature],
        ..Commit::default()
    }
}

/// Commits until one is made: those before it were refused, and nothing of them is kept.
async fn until_made(store: &Store, record: &Record, commit: Commit) -> Seq {
    let made = async {
        loop {
            let then = record.then(&commit, true);
            match store.commit_then(commit.clone(), then).await {
                Ok(seq) => return seq,
                Err(StoreError::Batch(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(BOUND, made).await.expect("it is made")
}

/// Two control planes, whose answers are lost now and then.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_are_handed_over_once_in_order() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let proxies = [Proxy::before(&cluster), Proxy::before(&cluster)];
    let mut planes = Vec::new();
    for (proxy, name) in proxies.iter().zip(["a", "bb"]) {
        let url = database.url().at(&[proxy.address()]).in_clear();
        let (store, from) = open(url, name).await.unwrap();
        let record = Record::default();
        store.hand_over(from, record.take()).await;
        planes.push((Arc::new(store), record));
    }
    for (n, cut) in (0..8).zip([true, false].into_iter().cycle()) {
        match cut {
            true => proxies[n % 3 % 2].cut_after_commit_forwarded(),
            false => proxies[n % 2].cut_before_commit_forwarded(),
        }
        let both = planes
            .iter()
            .zip(["a", "bb"])
            .map(|((store, record), name)| {
                let of = |part: u64| commit(name, 2 * n as u64 + part);
                let (store, record) = (Arc::clone(store), record.clone());
                let commits = [of(0), of(1)];
                async move {
                    for commit in commits {
                        until_made(&store, &record, commit).await;
                    }
                }
            });
        futures_util::future::join_all(both).await;
    }
    let (observer, newest) = open(database.url(), "observer").await.unwrap();
    assert_eq!(newest, Seq(32));
    for (store, record) in &planes {
        until_seen(store, newest).await;
        record.assert_whole(&observer, Seq(0)).await;
    }
    assert_eq!(observer.log_size(1).await.unwrap(), 16);
}

/// Returns why a store stopped.
async fn until_stopped(store: &Store) -> String {
    let stopped = async {
        while !store.is_stopped() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, stopped).await.expect("it stops");
    let told = store.refused().told("writes", Default::default());
    told.expect("it says why")
}

/// No later read would be another.
#[tokio::test]
async fn damaged_commit_stops_the_store() {
    let server = Server::new();
    let (store, from) = server.open().await;
    store.hand_over(from, |_| panic!("it does not read")).await;
    server.0.sql(
        "INSERT INTO countersign.changes VALUES (1, 0, 'unheard of', 'a', '1'); \
         UPDATE countersign.sequence SET newest = 1; NOTIFY countersign_commits",
    );
    let told = until_stopped(&store).await;
    assert!(told.contains("damaged kind"), "{told}");
}

/// What is not kept any more cannot be handed over: the next start reads everything.
#[tokio::test]
async fn commit_that_is_not_kept_stops_the_store() {
    let server = Server::new();
    let (a, _) = server.open().await;
    for n in 0..3 {
        a.commit(vec![put("a", n)], Vec::new()).await.unwrap();
    }
    server.0.sql(
        "DELETE FROM countersign.changes WHERE seq < 3; UPDATE countersign.sequence SET oldest = 3",
    );
    let record = Record::default();
    a.hand_over(Seq(2), record.take()).await;
    // What is next is still there, so it goes on where it was.
    a.commit(vec![put("a", 3)], Vec::new()).await.unwrap();
    let (b, _) = Store::connect(server.address(), writer("b")).await.unwrap();
    let taken = |_: Committed| panic!("it is not whole");
    b.hand_over(Seq(1), taken).await;
    let told = until_stopped(&b).await;
    assert!(told.contains("too far behind"), "{told}");
    assert!(told.contains("restart"), "{told}");
    let refused = b.commit(vec![put("a", 4)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
    assert_eq!(*b.seen().borrow(), Seq(4), "nothing was handed over");
}

/// A pause of the server is one of the hand-over too, and nothing is left out.
#[tokio::test(flavor = "multi_thread")]
async fn server_that_was_away_is_read_from_where_it_was() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let proxy = Proxy::before(&cluster);
    let (a, from) = open(database.url(), "a").await.unwrap();
    let (b, _) = open(database.url().at(&[proxy.address()]).in_clear(), "b")
        .await
        .unwrap();
    let record = Record::default();
    b.hand_over(from, record.take()).await;
    let first = a.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    until_seen(&b, first).await;
    proxy.refuse();
    proxy.drop_connections();
    let many: Vec<_> = (0..700).map(|n| put(&n.to_string(), n)).collect();
    let mut newest = first;
    for _ in 0..3 {
        newest = a.commit(many.clone(), Vec::new()).await.unwrap();
    }
    proxy.pass();
    until_seen(&b, newest).await;
    record.assert_whole(&a, from).await;
    assert!(!b.behind().is_refusing() && !b.is_stopped());
}
