mod fencing;
mod handing;
mod levels;

use std::sync::Arc;
use std::time::Duration;

use countersign_tests_postgres::{Authority, Cluster, NAMES, Proxy, Setup};
use tokio::time::timeout;

use super::*;
use crate::database::Fate;
use crate::tests::contract::{Place, Server, writer};
use crate::tests::{changes, make, put};
use crate::{Kind, LogEntry, Store, Write};

/// Anything that a test waits for happens in this time.
const BOUND: Duration = Duration::from_secs(60);

fn address(url: &impl ToString) -> Address {
    Address::parse(&url.to_string(), None).unwrap()
}

async fn open(url: impl ToString, name: &str) -> Result<(Store, Seq), StoreError> {
    Store::connect(address(&url), writer(name)).await
}

/// Commits until one is taken.
async fn until_taken(store: &Store, write: Write) -> Seq {
    let tried = async {
        loop {
            match store.commit(vec![write.clone()], Vec::new()).await {
                Ok(seq) => return seq,
                Err(StoreError::Batch(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(BOUND, tried).await.expect("writes are taken again")
}

#[tokio::test]
async fn who_is_too_far_behind_is_told() {
    let server = Server::new();
    let (store, _) = server.open().await;
    for n in 0..3 {
        store.commit(vec![put("a", n)], Vec::new()).await.unwrap();
    }
    server.0.sql(
        "DELETE FROM countersign.changes WHERE seq < 3; UPDATE countersign.sequence SET oldest = 3",
    );
    assert_eq!(store.changes_after(Seq(1)).await.unwrap(), None);
    let next = changes(&store, Seq(2)).await;
    assert_eq!(next, [(Seq(3), put("a", 2))]);
}

/// A copy waits for a table, and whoever reads the log does not wait for the copy.
#[tokio::test(flavor = "multi_thread")]
async fn copy_keeps_nobody_from_reading() {
    let server = Server::new();
    let (store, _) = server.open().await;
    let store = Arc::new(store);
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let holder = Session::open(&server.address()).await.unwrap();
    let locked = "BEGIN; LOCK TABLE countersign.entries IN ACCESS EXCLUSIVE MODE";
    holder.client().batch_execute(locked).await.unwrap();
    let (folder, its) = (tempfile::tempdir().unwrap(), Arc::clone(&store));
    let copy = folder.path().join("copy.db");
    std::fs::File::create(&copy).unwrap();
    let to = copy.clone();
    let copying = tokio::spawn(async move { its.copy_to(&to).await });
    let asked = "SELECT count(*) FROM pg_locks WHERE NOT granted \
                 AND relation = 'countersign.entries'::regclass";
    let waits = async {
        loop {
            let row = holder.client().query_one(asked, &[]).await.unwrap();
            if row.get::<_, i64>(0) > 0 {
                return;
            }
        }
    };
    timeout(BOUND, waits).await.expect("the copy waits");
    let read = timeout(Duration::from_secs(2), store.log_size(1)).await;
    assert_eq!(read.expect("nobody else does").unwrap(), 0);
    assert!(!copying.is_finished());
    holder.client().batch_execute("ROLLBACK").await.unwrap();
    copying.await.unwrap().unwrap();
    assert_eq!(crate::sqlite::look(&copy).await.unwrap().entries.len(), 1);
}

/// Two writers of one database: no place is given twice or left out, and each hears of the other.
#[tokio::test(flavor = "multi_thread")]
async fn places_of_two_writers_follow_each_other() {
    let server = Server::new();
    let (a, _) = server.open().await;
    let (b, _) = Store::connect(server.address(), writer("b")).await.unwrap();
    let mut followed = b.follow().unwrap();
    let of = |store: Store, name: &'static str| {
        tokio::spawn(async move {
            let mut places = Vec::new();
            for n in 0..100 {
                let write = put(&format!("{name}{n}"), n);
                places.push(store.commit(vec![write], Vec::new()).await.unwrap().0);
            }
            places
        })
    };
    let (of_a, of_b) = (of(a, "a"), of(b, "b"));
    let mut places = of_a.await.unwrap();
    places.extend(of_b.await.unwrap());
    places.sort_unstable();
    assert_eq!(places, (1..=200).collect::<Vec<_>>());
    let all = timeout(BOUND, followed.wait_for(|newest| newest.0 == 200)).await;
    all.expect("who follows hears of the last").unwrap();
}

/// A commit is known to the other within the time of a notice, not only of a question.
#[tokio::test]
async fn commit_is_told_of_at_once() {
    let server = Server::new();
    let (a, _) = server.open().await;
    let (b, _) = Store::connect(server.address(), writer("b")).await.unwrap();
    let mut followed = b.follow().unwrap();
    // Its session listens by now.
    let seq = a.commit(vec![put("a", 0)], Vec::new()).await.unwrap();
    timeout(BOUND, followed.wait_for(|newest| *newest >= seq))
        .await
        .unwrap()
        .unwrap();
    let began = std::time::Instant::now();
    for n in 0..40 {
        let seq = a.commit(vec![put("a", n)], Vec::new()).await.unwrap();
        timeout(BOUND, followed.wait_for(|newest| *newest >= seq))
            .await
            .unwrap()
            .unwrap();
    }
    // By questions alone it would be half a second each on average.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn second_process_of_a_name_stops_the_first() {
    let server = Server::new();
    let (first, _) = server.open().await;
    first.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let (second, _) = server.open().await;
    second.commit(vec![put("a", 2)], Vec::new()).await.unwrap();
    let fenced = first.commit(vec![put("a", 3)], Vec::new()).await;
    assert!(matches!(fenced, Err(StoreError::Stopped)), "{fenced:?}");
    assert!(first.is_stopped() && !first.is_older());
    let entries = second.snapshot().await.unwrap().entries;
    assert_eq!(
        entries[0].read::<u32>().unwrap(),
        2,
        "nothing of it was kept"
    );
}

#[tokio::test]
async fn second_data_directory_of_a_name_is_refused() {
    let server = Server::new();
    let (first, _) = server.open().await;
    let other = WriterName {
        instance: "another".to_owned(),
        ..writer("a")
    };
    let refused = Store::connect(server.address(), other).await.unwrap_err();
    assert!(matches!(refused, StoreError::NameTaken { .. }), "{refused}");
    first.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
}

/// What was committed is not there any more: whoever committed it writes nothing on top.
#[tokio::test]
async fn database_put_back_from_a_copy_stops_the_writer() {
    let server = Server::new();
    let (store, _) = server.open().await;
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let copy = server.0.sql("SELECT batch FROM countersign.writers")[0][0].clone();
    store.commit(vec![put("a", 2)], Vec::new()).await.unwrap();
    server.0.sql(&format!(
        "UPDATE countersign.writers SET batch = {copy}; UPDATE countersign.sequence SET newest = 1"
    ));
    let refused = store.commit(vec![put("a", 3)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
}

/// The answer to COMMIT is lost, before or after the server had it: what is acknowledged is there
/// once, what is refused is not there.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answer_to_a_commit_is_found_out() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let proxy = Proxy::before(&cluster);
    let url = database.url().at(&[proxy.address()]).in_clear();
    let (store, _) = open(url, "a").await.unwrap();
    let mut acknowledged = Vec::new();
    for n in 0..12 {
        match n % 3 {
            0 => proxy.cut_after_commit_forwarded(),
            1 => proxy.cut_before_commit_forwarded(),
            _ => {}
        }
        let commit = store.commit(vec![put(&n.to_string(), n)], Vec::new());
        match timeout(BOUND, commit).await.expect("it is answered") {
            Ok(seq) => acknowledged.push((n.to_string(), seq)),
            Err(StoreError::Batch(_)) => {}
            Err(error) => panic!("{n}: {error}"),
        }
        until_taken(&store, put("between", n)).await;
    }
    assert!(
        acknowledged.iter().any(|(n, _)| n == "0"),
        "after: it is kept"
    );
    assert!(
        acknowledged.iter().all(|(n, _)| n != "1"),
        "before: it is not"
    );
    let made = changes(&store, Seq(0)).await;
    let numbered = made.into_iter().filter(|(_, write)| write.key != "between");
    let kept: Vec<_> = numbered.map(|(seq, write)| (write.key, seq)).collect();
    assert_eq!(kept, acknowledged, "as it was answered, and once");
}

/// Every commit that was acknowledged is there after the server was killed under load.
#[tokio::test(flavor = "multi_thread")]
async fn killed_server_keeps_what_was_acknowledged() {
    let cluster = Cluster::start();
    let (store, _) = open(cluster.database().url(), "a").await.unwrap();
    let store = Arc::new(store);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = |name: u32| {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let key = format!("{name}-{n}");
                match store.commit(vec![put(&key, n)], Vec::new()).await {
                    Ok(seq) => acknowledged.push((seq, key)),
                    Err(StoreError::Batch(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
            acknowledged
        })
    };
    let writers: Vec<_> = (0..4).map(writing).collect();
    for round in 0..2 {
        // Each of them with some of those of the others.
        for _ in 0..5 {
            until_taken(&store, put("alive", round)).await;
        }
        cluster.kill();
        let refused = store.commit(vec![put("dead", round)], Vec::new());
        // Undecided ones wait for the server, others are refused; none is lost.
        let refused = timeout(Duration::from_millis(100), refused).await;
        assert!(!matches!(refused, Ok(Ok(_))), "no server, no commit");
        cluster.start_again();
        until_taken(&store, put("again", round)).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(timeout(BOUND, writer).await.unwrap().unwrap());
    }
    acknowledged.sort();
    let mut kept = Vec::new();
    let mut after = Seq(0);
    loop {
        let made = changes(&store, after).await;
        let Some((last, _)) = made.last() else {
            break;
        };
        after = *last;
        kept.extend(made.into_iter().map(|(seq, write)| (seq, write.key)));
    }
    kept.retain(|(_, key)| key.contains('-'));
    kept.sort();
    assert!(acknowledged.len() > 10, "there was load");
    assert_eq!(
        kept, acknowledged,
        "none lost, none twice, none that was refused"
    );
}

/// A server that does not answer costs a bounded wait, and is known to be away meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn silent_server_is_told_of_and_recovered_from() {
    let cluster = Cluster::start();
    let (store, _) = open(cluster.database().url(), "a").await.unwrap();
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    cluster.freeze();
    let asked = store.commit(vec![put("a", 2)], Vec::new());
    let told = timeout(BOUND, asked).await.expect("a wait has an end");
    assert!(matches!(told, Err(StoreError::Batch(_))), "{told:?}");
    assert!(store.refused().is_refusing());
    cluster.thaw();
    until_taken(&store, put("a", 3)).await;
    assert!(!store.refused().is_refusing());
}

/// Nobody writes, and it is known all the same that the database is away.
#[tokio::test(flavor = "multi_thread")]
async fn absence_is_noticed_though_nobody_writes() {
    let cluster = Cluster::start();
    let (store, _) = open(cluster.database().url(), "a").await.unwrap();
    let until = async |is_deaf: bool| {
        let changed = async {
            while store.deaf().is_refusing() != is_deaf {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(BOUND, changed).await.expect("it is told");
    };
    cluster.stop();
    until(true).await;
    cluster.start_again();
    until(false).await;
    assert!(!store.refused().is_refusing(), "no write was refused");
}

/// A first host that stands still keeps nobody from the second.
#[tokio::test(flavor = "multi_thread")]
async fn host_that_stands_still_is_passed_by() {
    let primary = Cluster::start();
    let database = primary.database();
    let standby = primary.standby();
    primary.require(&standby);
    let url = database.url().at(&[primary.address(), standby.address()]);
    let (store, _) = open(&url, "a").await.unwrap();
    let before = store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    primary.freeze();
    standby.promote();
    let after = until_taken(&store, put("b", 2)).await;
    assert!(after > before);
    primary.thaw();
}

/// Another that takes the row while an answer is lost is not mistaken for the lost commit.
#[tokio::test(flavor = "multi_thread")]
async fn row_of_another_is_no_answer_to_a_lost_one() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let proxy = Proxy::before(&cluster);
    let url = database.url().at(&[proxy.address()]).in_clear();
    let (store, _) = open(url, "a").await.unwrap();
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    proxy.cut_before_commit_forwarded();
    proxy.refuse();
    let lost = tokio::spawn(async move {
        let answer = store.commit(vec![put("a", 2)], Vec::new()).await;
        (store, answer)
    });
    proxy.wait_for_cuts(1);
    let (other, _) = open(database.url(), "a").await.unwrap();
    proxy.pass();
    let (store, answer) = timeout(BOUND, lost).await.unwrap().unwrap();
    assert!(matches!(answer, Err(StoreError::Stopped)), "{answer:?}");
    assert!(store.is_stopped());
    let entries = other.snapshot().await.unwrap().entries;
    assert_eq!(entries[0].read::<u32>().unwrap(), 1, "it was not made");
    other.commit(vec![put("a", 3)], Vec::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_of_the_server_refuses_and_recovers() {
    let setup = Setup {
        small_disk: true,
        ..Setup::default()
    };
    let cluster = Cluster::with(setup);
    let (store, _) = open(cluster.database().url(), "a").await.unwrap();
    let kept = store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    cluster.fill_disk();
    let large = "x".repeat(200_000);
    let mut refused = false;
    for n in 0..400 {
        let write = Write::put(Kind::Token, format!("large {n}"), &large);
        let told = timeout(
            Duration::from_secs(2),
            store.commit(vec![write], Vec::new()),
        )
        .await;
        match told {
            Ok(Ok(_)) => {}
            Ok(Err(StoreError::Batch(_))) | Err(_) => {
                refused = true;
                break;
            }
            Ok(Err(error)) => panic!("{error}"),
        }
    }
    assert!(refused, "there was no room");
    cluster.free_disk();
    until_taken(&store, put("b", 1)).await;
    let first = changes(&store, Seq(0)).await;
    assert_eq!(first[0], (kept, put("a", 1)));
}

/// A standby that has everything is promoted: the next host of the URL takes the writes.
#[tokio::test(flavor = "multi_thread")]
async fn promoted_standby_takes_the_writes() {
    let primary = Cluster::start();
    let database = primary.database();
    let standby = primary.standby();
    primary.require(&standby);
    let url = database.url().at(&[primary.address(), standby.address()]);
    let (store, _) = open(url, "a").await.unwrap();
    let before = store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    primary.kill();
    standby.promote();
    let after = until_taken(&store, put("b", 2)).await;
    assert!(after > before);
    let made = changes(&store, Seq(0)).await;
    assert!(
        made.contains(&(before, put("a", 1))),
        "nothing acknowledged is lost"
    );
}

/// A standby that had not everything is not written to.
#[tokio::test(flavor = "multi_thread")]
async fn standby_without_the_newest_commit_stops_the_writer() {
    let primary = Cluster::start();
    let database = primary.database();
    let way = Proxy::before(&primary);
    let standby = primary.standby_at(way.address());
    let url = database.url().at(&[primary.address(), standby.address()]);
    let (store, _) = open(url.clone(), "a").await.unwrap();
    let (reads, newest) = open(url, "b").await.unwrap();
    reads.hand_over(newest, |_| ()).await;
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    standby.catch_up(&primary);
    way.black_hole();
    let lost = store.commit(vec![put("a", 2)], Vec::new()).await.unwrap();
    let mut seen = reads.seen();
    timeout(BOUND, seen.wait_for(|seen| *seen >= lost))
        .await
        .unwrap()
        .unwrap();
    primary.kill();
    standby.promote();
    let stops = async |store: &Store| {
        loop {
            match store.commit(vec![put("a", 3)], Vec::new()).await {
                Err(StoreError::Stopped) => return,
                Err(StoreError::Batch(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    // Also the one that wrote nothing of what is lost, and took it.
    for store in [&reads, &store] {
        timeout(BOUND, stops(store)).await.expect("it stops");
        assert!(store.is_older(), "and it is known why");
    }
}

/// A third wrote to the standby, beyond what is lost, before the others knew of it.
#[tokio::test(flavor = "multi_thread")]
async fn standby_that_lacked_commits_and_grew_stops_who_knew_them() {
    let primary = Cluster::start();
    let database = primary.database();
    let (way, held) = (Proxy::before(&primary), Proxy::before(&primary));
    let standby = primary.standby_at(way.address());
    let url = database.url().at(&[held.address(), standby.address()]);
    let (wrote, newest) = open(url.clone().in_clear(), "a").await.unwrap();
    let (reads, _) = open(url.in_clear(), "b").await.unwrap();
    reads.hand_over(newest, |_| ()).await;
    wrote.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    standby.catch_up(&primary);
    way.black_hole();
    let lost = wrote.commit(vec![put("a", 2)], Vec::new()).await.unwrap();
    let mut seen = reads.seen();
    let took = seen.wait_for(|seen| *seen >= lost);
    timeout(BOUND, took).await.unwrap().unwrap();
    held.refuse();
    held.drop_connections();
    primary.kill();
    standby.promote();
    let url = database.url().at(&[standby.address()]);
    let (grows, from) = open(url, "c").await.unwrap();
    assert!(from < lost, "it lacks what was committed last");
    for n in 0..3 {
        grows.commit(vec![put("c", n)], Vec::new()).await.unwrap();
    }
    let stops = async |store: &Store| {
        while !store.is_stopped() {
            let _ = store.commit(vec![put("a", 3)], Vec::new()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    for store in [&wrote, &reads] {
        timeout(BOUND, stops(store)).await.expect("it stops");
        assert!(store.is_older(), "and it is known why");
    }
    let kept = grows.changes_after(Seq(0)).await.unwrap().unwrap();
    assert!(
        kept.iter()
            .flat_map(|it| &it.writes)
            .all(|it| *it != put("a", 3)),
        "nothing of theirs was taken"
    );
    grows.commit(vec![put("c", 4)], Vec::new()).await.unwrap();
}

#[tokio::test]
async fn server_of_another_authority_or_name_is_refused() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let strangers = Authority::make();
    let other = database.url().trusting(strangers.path());
    let refused = open(other, "a").await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");

    let ours = Authority::make();
    cluster.show(&ours, &["db.example"]);
    let named = database.url().trusting(ours.path());
    let refused = open(named.clone(), "a").await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    cluster.show(&ours, &NAMES);
    open(named, "a").await.unwrap();
}

#[tokio::test]
async fn wrong_password_is_told_without_it() {
    let server = Server::new();
    let url = server.0.url().with_password("hunter2");
    let refused = open(url, "a").await.unwrap_err().to_string();
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
    assert!(!refused.contains("hunter2"), "{refused}");
}

#[tokio::test]
async fn schema_of_a_newer_program_is_refused() {
    let server = Server::new();
    drop(server.open().await);
    server.0.sql("UPDATE countersign.schema SET version = 3");
    drop(server.open().await);
    server
        .0
        .sql("UPDATE countersign.schema SET version = 4, oldest = 4");
    let refused = open(server.0.url(), "a").await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema(_)), "{refused}");
    let told = refused.to_string();
    assert!(
        told.contains("version 4") && told.contains("install the newer"),
        "{told}"
    );
}

/// Several that start at the same moment on an empty database make its tables once.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_once_by_many() {
    let server = Server::new();
    let opened = (0..6).map(|n| {
        let (address, name) = (server.address(), n.to_string());
        tokio::spawn(async move { Store::connect(address, writer(&name)).await.map(drop) })
    });
    for opened in futures_util::future::join_all(opened).await {
        opened.unwrap().unwrap();
    }
}

#[tokio::test]
async fn role_that_may_make_nothing_is_told_what_to_do() {
    let server = Server::new();
    server
        .0
        .sql("CREATE ROLE only_reads LOGIN PASSWORD 'x' NOSUPERUSER");
    let url = server.0.url().to_string();
    let (_, rest) = url.split_once('@').unwrap();
    let url = format!("postgresql://only_reads:x@{rest}");
    let refused = open(&url, "a").await.unwrap_err().to_string();
    assert!(refused.contains("countersign store migrate"), "{refused}");
    // Made by the owner alone they are of no use to it, and that is said as well.
    migrate(&server.address()).await.unwrap();
    let refused = open(&url, "a").await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema(_)), "{refused}");
    grant(&server.address(), "only_reads").await.unwrap();
    let (store, _) = open(&url, "a").await.unwrap();
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    drop(store);
    let gone = "DROP OWNED BY only_reads; DROP ROLE only_reads";
    server.0.sql(gone);
}

/// A database as the program before this one left it.
async fn of_version_one(server: &Server) {
    let session = Session::open(&server.address()).await.unwrap();
    let tables = include_str!("../../migrations/postgres/0001_commit_log.sql");
    let content = "CREATE TABLE countersign.schema (only_row boolean PRIMARY KEY DEFAULT true, \
        version integer NOT NULL, oldest integer NOT NULL); \
        INSERT INTO countersign.schema (version, oldest) VALUES (1, 1); \
        UPDATE countersign.sequence SET newest = 7; \
        INSERT INTO countersign.changes VALUES (6, 0, 'token', 'a', '1'), (7, 0, 'token', 'a', '2'); \
        INSERT INTO countersign.entries VALUES ('token', 'a', '2', 7)";
    for sql in ["CREATE SCHEMA countersign", tables, content] {
        session.client().batch_execute(sql).await.unwrap();
    }
}

#[tokio::test]
async fn tables_of_the_version_before_gain_logs() {
    let server = Server::new();
    of_version_one(&server).await;
    assert!(check(&server.address()).await.unwrap().logs.is_empty());
    let (store, newest) = server.open().await;
    assert_eq!(newest, Seq(7));
    assert_eq!(store.changes_after(Seq(4)).await.unwrap(), None);
    let kept = [(Seq(6), put("a", 1)), (Seq(7), put("a", 2))];
    assert_eq!(changes(&store, Seq(5)).await, kept);
    let entry = LogEntry {
        log_id: u32::MAX,
        index: 41,
        bytes: vec![1],
    };
    let commit = Commit {
        entries: vec![entry],
        ..Commit::default()
    };
    assert_eq!(make(&store, commit).await.unwrap(), Seq(8));
    let checked = check(&server.address()).await.unwrap();
    assert_eq!(checked.logs, [(u32::MAX, 42)]);
    assert_eq!(checked.schema, Some(VERSION));
}

/// The owner made the tables of this version, and did not grant them.
#[tokio::test]
async fn role_of_the_version_before_is_told_what_to_grant() {
    let server = Server::new();
    of_version_one(&server).await;
    let role = format!("granted_{}", server.0.url().database());
    server.0.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'x' NOSUPERUSER"
    ));
    grant(&server.address(), &role).await.unwrap();
    migrate(&server.address()).await.unwrap();
    let url = server.0.url().to_string();
    let (_, rest) = url.split_once('@').unwrap();
    let url = format!("postgresql://{role}:x@{rest}");
    let refused = open(&url, "a").await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema(_)), "{refused}");
    assert!(refused.to_string().contains("--grant-to"), "{refused}");
    grant(&server.address(), &role).await.unwrap();
    drop(open(&url, "a").await.unwrap());
    server
        .0
        .sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Many commits without a change come before one with some.
#[tokio::test]
async fn commits_of_entries_alone_are_retained() {
    let server = Server::new();
    let (store, _) = server.open().await;
    for index in 0..3 {
        let entry = LogEntry {
            log_id: 0,
            index,
            bytes: vec![0],
        };
        let commit = Commit {
            entries: vec![entry],
            ..Commit::default()
        };
        make(&store, commit).await.unwrap();
    }
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let page = store.changes_after(Seq(1)).await.unwrap().unwrap();
    let seqs: Vec<_> = page.iter().map(|commit| commit.seq.0).collect();
    assert_eq!(seqs, [2, 3, 4]);
}

/// Makes the next inserts of changes fail as if another transaction had been in the way.
fn fail_next(server: &Server, times: u32) {
    server.0.sql(&format!(
        "CREATE SEQUENCE IF NOT EXISTS public.tries; SELECT setval('public.tries', 1, false); \
         GRANT ALL ON SEQUENCE public.tries TO PUBLIC; \
         CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('public.tries') <= {times} THEN \
         RAISE EXCEPTION 'in the way' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$; \
         DROP TRIGGER IF EXISTS fail ON countersign.changes; \
         CREATE TRIGGER fail AFTER INSERT ON countersign.changes \
         FOR EACH STATEMENT EXECUTE FUNCTION public.fail()"
    ));
}

#[tokio::test]
async fn serialization_failure_is_tried_again() {
    let server = Server::new();
    let (store, _) = server.open().await;
    fail_next(&server, 3);
    let first = store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    assert_eq!(first, Seq(1), "a try that failed takes no place");
    fail_next(&server, 1_000);
    let refused = store.commit(vec![put("a", 2)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Batch(_))), "{refused:?}");
    fail_next(&server, 0);
    let next = store.commit(vec![put("a", 3)], Vec::new()).await.unwrap();
    let made = changes(&store, Seq(0)).await;
    assert_eq!(made, [(first, put("a", 1)), (next, put("a", 3))]);
}

/// The sequence is the truth: without a notice a commit is heard of by the next question.
#[tokio::test]
async fn commit_without_a_notice_is_followed() {
    let server = Server::new();
    let (follower, _) = server.open().await;
    let (mut silent, _, _) = super::open(server.address(), writer("b"), Level::OWN)
        .await
        .unwrap();
    silent.session.as_mut().unwrap().statements.silence();
    let commit = Commit {
        writes: vec![put("a", 1)],
        ..Commit::default()
    };
    let places = silent.write(&[commit]).await.unwrap();
    let mut newest = follower.follow().unwrap();
    let heard = timeout(BOUND, newest.wait_for(|it| Ok(*it) == places[0])).await;
    heard.expect("it is asked for").unwrap();
}

/// Whatever a role or a server has by default, a commit that is acknowledged is on the disk.
#[tokio::test]
async fn acknowledged_commit_is_never_asynchronous() {
    let server = Server::new();
    let name = server.0.url().database().to_owned();
    server.0.sql(&format!(
        "ALTER DATABASE {name} SET synchronous_commit = off"
    ));
    let session = Session::open(&server.address()).await.unwrap();
    let asked = "SELECT current_setting('synchronous_commit')";
    let row = session.client().query_one(asked, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "on");
}

/// To compile a statement takes longer than any of ours.
#[tokio::test]
async fn statements_are_not_compiled() {
    let server = Server::new();
    let name = server.0.url().database().to_owned();
    server.0.sql(&format!("ALTER DATABASE {name} SET jit = on"));
    let session = Session::open(&server.address()).await.unwrap();
    let asked = "SELECT current_setting('jit')";
    let row = session.client().query_one(asked, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "off");
}

/// A warning from before a commit says nothing of it.
#[tokio::test]
async fn warning_before_a_commit_is_not_of_it() {
    let server = Server::new();
    let (mut database, _, _) = super::open(server.address(), writer("a"), Level::OWN)
        .await
        .unwrap();
    let session = &database.session.as_ref().unwrap().session;
    let warned = "DO $$ BEGIN RAISE WARNING 'an old collation'; END $$";
    session.client().batch_execute(warned).await.unwrap();
    assert!(session.unwarned().is_err(), "it was heard");
    let commit = Commit {
        writes: vec![put("a", 1)],
        ..Commit::default()
    };
    assert_eq!(database.write(&[commit]).await.unwrap(), [Ok(Seq(1))]);
}

/// One at the commit leaves open what became of it, until that is found out.
#[tokio::test]
async fn warned_commit_is_looked_up() {
    let server = Server::new();
    let (mut database, _, _) = super::open(server.address(), writer("a"), Level::OWN)
        .await
        .unwrap();
    server.0.sql(
        "CREATE FUNCTION public.warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE WARNING 'canceling wait'; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON countersign.changes \
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.warn()",
    );
    let commit = Commit {
        writes: vec![put("a", 1)],
        ..Commit::default()
    };
    let failed = database.write(&[commit]).await.unwrap_err();
    let Fate::Open(places) = failed.fate else {
        panic!("{failed:?}");
    };
    assert!(matches!(database.settle(&places).await, Ok(true)));
}
