//! What every database keeps to: the same tests, for each.

use futures_util::future::join_all;

use super::*;
use crate::postgres::{Address, WriterName};

/// A database that a store is opened on, again and again.
pub(crate) trait Place {
    async fn open(&self) -> (Store, Seq);
}

/// A file in a data directory.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn dir_path(&self) -> std::path::PathBuf {
        self.0.path().join("cp")
    }

    pub(crate) fn dir(&self) -> DataDir {
        DataDir::open(&self.0.path().join("cp")).unwrap()
    }
}

impl Place for Files {
    async fn open(&self) -> (Store, Seq) {
        Store::open(&self.dir()).await.unwrap()
    }
}

impl Place for memory::MemoryDatabase {
    async fn open(&self) -> (Store, Seq) {
        Store::in_memory(self)
    }
}

/// A database of a real server, which the test made.
pub(crate) struct Server(pub(crate) countersign_tests_postgres::Database);

impl Server {
    pub(crate) fn new() -> Self {
        Self(countersign_tests_postgres::shared().database())
    }

    pub(crate) fn address(&self) -> Address {
        Address::parse(&self.0.url().to_string(), None).unwrap()
    }
}

pub(crate) fn writer(name: &str) -> WriterName {
    WriterName {
        name: name.to_owned(),
        instance: format!("instance of {name}"),
    }
}

impl Place for Server {
    async fn open(&self) -> (Store, Seq) {
        let opened = Store::connect(self.address(), writer("a")).await;
        opened.unwrap_or_else(|error| panic!("{error}"))
    }
}

async fn commits_are_ordered_and_found_again(place: impl Place) {
    let (store, newest) = place.open().await;
    assert_eq!(newest, Seq(0));
    let written = vec![put("a", 1), put("b", 2)];
    let first = store.commit(written, Vec::new()).await.unwrap();
    let gone = vec![Write::remove(Kind::Token, "a")];
    let second = store.commit(gone, Vec::new()).await.unwrap();
    assert!(first < second);
    let after = changes(&store, first).await;
    assert_eq!(after, [(second, Write::remove(Kind::Token, "a"))]);
    let all = changes(&store, Seq(0)).await;
    assert_eq!(all.len(), 3);
    drop(store);

    let (store, newest) = place.open().await;
    assert_eq!(newest, second);
    let Snapshot { seq, entries, .. } = store.snapshot().await.unwrap();
    assert_eq!((seq, entries.len()), (second, 1));
    assert_eq!((entries[0].key.as_str(), entries[0].seq), ("b", first));
    assert_eq!(entries[0].read::<u32>().unwrap(), 2);
}

async fn failed_precondition_writes_nothing(place: impl Place) {
    let (store, _) = place.open().await;
    let first = store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let absent = Precondition::Absent(Kind::Token, "a".to_owned());
    let old = Precondition::Unchanged(Kind::Token, "a".to_owned(), Seq(0));
    let missing = Precondition::Unchanged(Kind::Token, "x".to_owned(), first);
    for precondition in [absent, old, missing] {
        let written = vec![put("a", 9), put("c", 9)];
        let refused = store.commit(written, vec![precondition]).await;
        assert!(matches!(refused, Err(StoreError::Conflict)));
    }
    assert_eq!(store.snapshot().await.unwrap().entries.len(), 1);
    let holds = Precondition::Unchanged(Kind::Token, "a".to_owned(), first);
    let second = store.commit(vec![put("a", 2)], vec![holds]).await.unwrap();
    assert_eq!(second, Seq(first.0 + 1), "a refused commit takes no place");
}

async fn who_follows_is_given_whole_commits(place: impl Place) {
    let (store, _) = place.open().await;
    let many: Vec<_> = (0..700).map(|n| put(&n.to_string(), n)).collect();
    for _ in 0..3 {
        store.commit(many.clone(), Vec::new()).await.unwrap();
    }
    let seqs = async |after| {
        let read = changes(&store, after).await;
        let seqs: Vec<_> = read.iter().map(|(seq, _)| seq.0).collect();
        (seqs.len(), seqs.last().copied())
    };
    assert_eq!(seqs(Seq(0)).await, (1_400, Some(2)));
    assert_eq!(seqs(Seq(2)).await, (700, Some(3)));
    assert_eq!(seqs(Seq(3)).await, (0, None));
}

/// Of many who want to do what may happen once, one does.
async fn one_of_many_wins(place: impl Place) {
    let (store, _) = place.open().await;
    for round in 0..20 {
        let key = round.to_string();
        let unused = store.commit(vec![put(&key, 0)], Vec::new()).await.unwrap();
        let burn = |caller| {
            let unchanged = Precondition::Unchanged(Kind::Token, key.clone(), unused);
            store.commit(vec![put(&key, caller)], vec![unchanged])
        };
        let burnt = join_all((1..=64).map(burn)).await;
        let won = burnt.iter().filter(|it| it.is_ok()).count();
        let lost = burnt
            .iter()
            .filter(|it| matches!(it, Err(StoreError::Conflict)));
        assert_eq!((won, lost.count()), (1, 63));
    }
}

/// A name that a batch writes and removes, or writes twice, is what its last commit made it.
async fn batch_writes_a_name_more_than_once(place: impl Place) {
    let (store, _) = place.open().await;
    let gone = |key: &str| Write::remove(Kind::Token, key);
    let commits = [
        vec![put("a", 1), put("b", 1)],
        vec![gone("a"), put("b", 2)],
        vec![put("a", 3), gone("b")],
        vec![gone("a"), put("a", 4)],
    ];
    let commits = commits.map(|writes| store.commit(writes, Vec::new()));
    let places: Vec<_> = join_all(commits)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(places, [Seq(1), Seq(2), Seq(3), Seq(4)]);
    let Snapshot { entries, .. } = store.snapshot().await.unwrap();
    let entries: Vec<_> = entries.iter().map(|it| (it.key.as_str(), it.seq)).collect();
    assert_eq!(entries, [("a", Seq(4))]);
    let made = changes(&store, Seq(0)).await;
    assert_eq!(made.len(), 8);
    assert_eq!(made[7], (Seq(4), put("a", 4)));
}

/// A state of several pages is read as it was after one commit, while others are made.
async fn snapshot_is_of_one_moment(place: impl Place) {
    const MANY: u32 = 2_500;
    let (store, _) = place.open().await;
    let all = |value| (0..MANY).map(move |n| put(&format!("{n:04}"), value));
    store.commit(all(0).collect(), Vec::new()).await.unwrap();
    let ends = |value| vec![put("0000", value), put("2499", value)];
    let commits = async {
        for value in 1..=40 {
            store.commit(ends(value), Vec::new()).await.unwrap();
        }
    };
    let snapshots = async {
        for _ in 0..10 {
            let Snapshot {
                seq, mut entries, ..
            } = store.snapshot().await.unwrap();
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            entries.dedup_by(|a, b| a.key == b.key);
            assert_eq!(entries.len(), MANY as usize);
            let (first, last) = (&entries[0], entries.last().unwrap());
            assert_eq!((first.seq, last.seq), (seq, seq));
            assert_eq!(first.value, last.value);
        }
    };
    tokio::join!(commits, snapshots);
}

#[tokio::test]
async fn fenced_writer_of_a_memory_stops() {
    let database = memory::MemoryDatabase::default();
    let reached = database.reached(Arc::new(memory::Direct));
    let a = reached.connect(writer("a")).await.unwrap();
    let b = reached.connect(writer("b")).await.unwrap();
    b.commit(vec![put("b", 1)], Vec::new()).await.unwrap();
    a.fence_out("b").await.unwrap();
    let refused = b.commit(vec![put("b", 2)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
    assert!(b.is_stopped());
    a.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let again = reached.connect(writer("b")).await.unwrap_err();
    assert!(matches!(again, StoreError::FencedOut { .. }), "{again}");
}

#[tokio::test]
async fn name_in_a_memory_has_one_writer() {
    let database = memory::MemoryDatabase::default();
    let reached = database.reached(Arc::new(memory::Direct));
    let before = reached.connect(writer("a")).await.unwrap();
    before.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let other = WriterName {
        instance: "another data directory".to_owned(),
        ..writer("a")
    };
    let refused = reached.connect(other).await.unwrap_err();
    assert!(matches!(refused, StoreError::NameTaken { .. }), "{refused}");
    let after = reached.connect(writer("a")).await.unwrap();
    let refused = before.commit(vec![put("a", 2)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
    after.commit(vec![put("a", 3)], Vec::new()).await.unwrap();
}

#[tokio::test]
async fn memory_that_was_put_back_is_noticed() {
    let database = memory::MemoryDatabase::default();
    let store = database.reached(Arc::new(memory::Direct));
    let store = store.connect(writer("a")).await.unwrap();
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let held = database.held();
    store.commit(vec![put("a", 2)], Vec::new()).await.unwrap();
    database.put_back(held);
    let refused = store.commit(vec![put("a", 3)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
    assert!(store.is_older());
}

/// The row of the second is as it left it: it wrote nothing since the copy, and took what the first wrote.
#[tokio::test]
async fn memory_that_was_put_back_is_noticed_by_who_only_read() {
    let database = memory::MemoryDatabase::default();
    let reached = database.reached(Arc::new(memory::Direct));
    let a = reached.connect(writer("a")).await.unwrap();
    let b = reached.connect(writer("b")).await.unwrap();
    let held = database.held();
    b.hand_over(Seq(0), |_| ()).await;
    let newest = a.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let mut seen = b.seen();
    seen.wait_for(|seen| *seen >= newest).await.unwrap();
    database.put_back(held);
    let refused = b.commit(vec![put("b", 1)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
    assert!(b.is_older());
}

/// It was put back, and a third wrote beyond what is lost before the others look: its newest commit is no older
/// than what they know.
#[tokio::test]
async fn memory_that_was_put_back_and_grew_is_noticed() {
    let database = memory::MemoryDatabase::default();
    let reached = database.reached(Arc::new(memory::Direct));
    let wrote = reached.connect(writer("a")).await.unwrap();
    let reads = reached.connect(writer("b")).await.unwrap();
    let took = reached.connect(writer("c")).await.unwrap();
    wrote.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let held = database.held();
    for store in [&reads, &took] {
        store.hand_over(Seq(1), |_| ()).await;
    }
    let lost = wrote.commit(vec![put("a", 2)], Vec::new()).await.unwrap();
    for store in [&reads, &took] {
        let mut seen = store.seen();
        seen.wait_for(|seen| *seen >= lost).await.unwrap();
    }
    database.put_back(held);
    let grows = reached.connect(writer("d")).await.unwrap();
    // As many as were lost: nothing is told of that one of them, by its number, would not know.
    grows.commit(vec![put("d", 1)], Vec::new()).await.unwrap();
    for store in [&took, &wrote] {
        let refused = store.commit(vec![put("c", 1)], Vec::new()).await;
        assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
        assert!(store.is_older());
    }
    // Whoever only reads is told of one more.
    let newest = grows.commit(vec![put("d", 2)], Vec::new()).await.unwrap();
    let mut seen = reads.seen();
    while seen.changed().await.is_ok() {}
    assert!(*seen.borrow() < newest && reads.is_stopped() && reads.is_older());
    grows.commit(vec![put("d", 3)], Vec::new()).await.unwrap();
}

#[tokio::test]
async fn sqlite_has_nobody_to_fence_out() {
    let (store, _) = Files::new().open().await;
    let refused = store.fence_out("b").await;
    assert!(matches!(refused, Err(StoreError::NoOther)), "{refused:?}");
}

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        mod of_sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Files::new()).await;
            })*
        }
        mod of_memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::memory::MemoryDatabase::default()).await;
            })*
        }
        mod of_postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Server::new()).await;
            })*
        }
    };
}

contract!(
    commits_are_ordered_and_found_again,
    failed_precondition_writes_nothing,
    who_follows_is_given_whole_commits,
    one_of_many_wins,
    batch_writes_a_name_more_than_once,
    snapshot_is_of_one_moment,
);
