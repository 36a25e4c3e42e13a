use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::*;

async fn open(path: &Path) -> (DataDir, Store, Seq) {
    let dir = DataDir::open(path).unwrap();
    let (store, newest) = Store::open(&dir).await.unwrap();
    (dir, store, newest)
}

fn put(key: &str, value: u32) -> Write {
    Write::put(Kind::Token, key, &value)
}

#[test]
fn a_data_directory_that_another_can_exchange_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let theirs = temporary.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(54_321), None).unwrap();
    for path in [theirs.clone(), theirs.join("cp")] {
        let refused = DataDir::open(&path).unwrap_err().to_string();
        assert!(refused.contains("belongs to uid 54321"), "{refused}");
        assert!(refused.contains("choose another data_dir"), "{refused}");
    }
    assert_eq!(
        std::fs::read_dir(&theirs).unwrap().count(),
        0,
        "nothing was made"
    );
}

#[tokio::test]
async fn commits_are_ordered_and_found_again() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("cp");
    let (dir, store, newest) = open(&path).await;
    assert_eq!(newest, Seq(0));
    let first = store
        .commit(vec![put("a", 1), put("b", 2)], Vec::new())
        .await
        .unwrap();
    let second = store
        .commit(vec![Write::remove(Kind::Token, "a")], Vec::new())
        .await
        .unwrap();
    assert!(first < second);
    let after = store.changes_after(first).await.unwrap().unwrap();
    assert_eq!(after, [(second, Write::remove(Kind::Token, "a"))]);
    let all = store.changes_after(Seq(0)).await.unwrap().unwrap();
    assert_eq!(all.len(), 3);
    drop((store, dir));

    let (_dir, store, newest) = open(&path).await;
    assert_eq!(newest, second);
    let entries = store.snapshot().await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].key.as_str(), entries[0].seq), ("b", first));
    assert_eq!(entries[0].read::<u32>().unwrap(), 2);
}

#[tokio::test]
async fn failed_precondition_writes_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let (_dir, store, _) = open(&temporary.path().join("cp")).await;
    let first = store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let absent = Precondition::Absent(Kind::Token, "a".to_owned());
    let old = Precondition::Unchanged(Kind::Token, "a".to_owned(), Seq(0));
    let missing = Precondition::Unchanged(Kind::Token, "x".to_owned(), first);
    for precondition in [absent, old, missing] {
        let refused = store
            .commit(vec![put("a", 9), put("c", 9)], vec![precondition])
            .await;
        assert!(matches!(refused, Err(StoreError::Conflict)));
    }
    assert_eq!(store.snapshot().await.unwrap().len(), 1);
    let holds = Precondition::Unchanged(Kind::Token, "a".to_owned(), first);
    let second = store.commit(vec![put("a", 2)], vec![holds]).await.unwrap();
    assert_eq!(second, Seq(first.0 + 1), "a refused commit takes no place");
}

#[tokio::test]
async fn who_follows_is_given_whole_commits() {
    let temporary = tempfile::tempdir().unwrap();
    let (_dir, store, _) = open(&temporary.path().join("cp")).await;
    let many: Vec<_> = (0..700).map(|n| put(&n.to_string(), n)).collect();
    for _ in 0..3 {
        store.commit(many.clone(), Vec::new()).await.unwrap();
    }
    let seqs = async |after| {
        let read = store.changes_after(after).await.unwrap().unwrap();
        let seqs: Vec<_> = read.iter().map(|(seq, _)| seq.0).collect();
        (seqs.len(), seqs.last().copied())
    };
    assert_eq!(seqs(Seq(0)).await, (1_400, Some(2)));
    assert_eq!(seqs(Seq(2)).await, (700, Some(3)));
    assert_eq!(seqs(Seq(3)).await, (0, None));
}

#[tokio::test]
async fn who_is_too_far_behind_is_told() {
    let temporary = tempfile::tempdir().unwrap();
    let (_dir, store, _) = open(&temporary.path().join("cp")).await;
    for n in 0..3 {
        store.commit(vec![put("a", n)], Vec::new()).await.unwrap();
    }
    let path = temporary.path().join("cp").join(DATABASE);
    let mut beside = SqliteConnection::connect(path.to_str().unwrap())
        .await
        .unwrap();
    let trimmed = sqlx::query("DELETE FROM changes WHERE seq < 3");
    trimmed.execute(&mut beside).await.unwrap();
    assert_eq!(store.changes_after(Seq(1)).await.unwrap(), None);
    let next = store.changes_after(Seq(2)).await.unwrap().unwrap();
    assert_eq!(next, [(Seq(3), put("a", 2))]);
}
