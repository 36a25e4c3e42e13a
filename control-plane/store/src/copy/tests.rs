use super::*;
use crate::tests::contract::{Files, Place, Server, writer};
use crate::tests::{changes, put};
use crate::{Precondition, Store, Write};

/// A state with a past: values that were replaced and removed.
async fn filled(store: &Store) -> Seq {
    for n in 0..30 {
        let key = (n % 7).to_string();
        store.commit(vec![put(&key, n)], Vec::new()).await.unwrap();
    }
    let gone = vec![Write::remove(Kind::Token, "3"), put("é \u{1F512} '\"\\", 1)];
    store.commit(gone, Vec::new()).await.unwrap()
}

/// Ends a store of files, and waits until its threads have let go of them.
async fn closed(store: Store, files: &Files) {
    drop(store);
    let log = files.dir_path().join(format!("{DATABASE}-wal"));
    let gone = async {
        while log.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let bound = std::time::Duration::from_secs(30);
    tokio::time::timeout(bound, gone).await.unwrap();
}

#[tokio::test]
async fn state_moves_to_a_database_and_back() {
    let (files, server) = (Files::new(), Server::new());
    let (store, _) = files.open().await;
    let newest = filled(&store).await;
    let before = store.snapshot().await.unwrap();
    closed(store, &files).await;
    let copied = to_database(&files.dir(), &server.address()).await.unwrap();
    assert_eq!((copied.seq, copied.entries), (newest, before.entries.len()));
    assert!(copied.set_aside.unwrap().exists());
    assert!(!files.dir_path().join(DATABASE).exists());

    let (store, seq) = server.open().await;
    assert_eq!(seq, newest);
    let after = store.snapshot().await.unwrap();
    assert_eq!(sorted(&after), sorted(&before));
    // It goes on where it was, and preconditions still hold.
    let four = after.entries.iter().find(|it| it.key == "4").unwrap().seq;
    let unchanged = Precondition::Unchanged(Kind::Token, "4".to_owned(), four);
    let next = store
        .commit(vec![put("4", 99)], vec![unchanged])
        .await
        .unwrap();
    assert_eq!(next, Seq(newest.0 + 1));
    assert_eq!(
        store.changes_after(Seq(1)).await.unwrap(),
        None,
        "what was before is not here"
    );
    let here = changes(&store, newest).await;
    assert_eq!(here, [(next, put("4", 99))]);
    let before = store.snapshot().await.unwrap();

    let copied = to_files(&server.address(), &files.dir()).await.unwrap();
    assert_eq!(copied.seq, next);
    let fenced = store.commit(vec![put("5", 1)], Vec::new()).await;
    assert!(matches!(fenced, Err(StoreError::Stopped)), "{fenced:?}");
    let left = postgres::look(&server.address()).await.unwrap().unwrap();
    assert_eq!(
        moved_to(&left),
        Some(files.dir_path().display().to_string())
    );
    let (store, seq) = files.open().await;
    assert_eq!(seq, next);
    assert_eq!(sorted(&store.snapshot().await.unwrap()), sorted(&before));
}

#[tokio::test]
async fn nothing_is_copied_over_a_state() {
    let (files, server) = (Files::new(), Server::new());
    let empty = to_database(&files.dir(), &server.address()).await;
    assert!(matches!(empty, Err(CopyError::NoState)), "{empty:?}");
    let empty = to_files(&server.address(), &files.dir()).await;
    assert!(matches!(empty, Err(CopyError::NoState)), "{empty:?}");
    let (store, _) = files.open().await;
    filled(&store).await;
    closed(store, &files).await;
    let (store, _) = Store::connect(server.address(), writer("a")).await.unwrap();
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    let refused = to_database(&files.dir(), &server.address()).await;
    assert!(matches!(refused, Err(CopyError::NotEmpty)), "{refused:?}");
    let refused = to_files(&server.address(), &files.dir()).await;
    assert!(matches!(refused, Err(CopyError::NotEmpty)), "{refused:?}");
    assert!(files.dir_path().join(DATABASE).exists());
    assert_eq!(store.snapshot().await.unwrap().entries.len(), 1);
}

/// A copy that was cut short before its last step is finished by the next.
#[tokio::test]
async fn copy_that_was_cut_short_is_finished() {
    let (files, server) = (Files::new(), Server::new());
    let (store, _) = server.open().await;
    filled(&store).await;
    let source = store.snapshot().await.unwrap();
    let dir = files.dir();
    let draft = dir.path().join("state.db.copying");
    dir.touch(&draft).unwrap();
    sqlite::write_copy(&draft, &source).await.unwrap();
    let here = dir.path().display().to_string();
    postgres::mark_moved(&server.address(), &source, &here)
        .await
        .unwrap();
    let copied = to_files(&server.address(), &dir).await.unwrap();
    assert_eq!(copied.seq, source.seq);
    drop(dir);
    let (store, _) = files.open().await;
    assert_eq!(sorted(&store.snapshot().await.unwrap()), sorted(&source));
}

#[tokio::test]
async fn copy_to_a_database_that_was_cut_short_is_finished() {
    let (files, server) = (Files::new(), Server::new());
    let (store, _) = files.open().await;
    filled(&store).await;
    closed(store, &files).await;
    let source = sqlite::look(&files.dir_path().join(DATABASE))
        .await
        .unwrap();
    assert!(
        postgres::write_copy(&server.address(), &source)
            .await
            .unwrap()
    );
    let copied = to_database(&files.dir(), &server.address()).await.unwrap();
    assert_eq!(copied.seq, source.seq);
    assert!(!files.dir_path().join(DATABASE).exists());
}

/// A draft that is not what was moved is not taken for it.
#[tokio::test]
async fn draft_of_another_state_is_not_taken() {
    let (files, server) = (Files::new(), Server::new());
    let (store, _) = server.open().await;
    filled(&store).await;
    let source = store.snapshot().await.unwrap();
    let dir = files.dir();
    let draft = dir.path().join("state.db.copying");
    dir.touch(&draft).unwrap();
    let mut other = store.snapshot().await.unwrap();
    other.entries.remove(0);
    sqlite::write_copy(&draft, &other).await.unwrap();
    let here = std::fs::canonicalize(dir.path()).unwrap();
    let here = here.display().to_string();
    postgres::mark_moved(&server.address(), &source, &here)
        .await
        .unwrap();
    let refused = to_files(&server.address(), &dir).await;
    assert!(matches!(refused, Err(CopyError::Differs(_))), "{refused:?}");
    assert!(!dir.path().join(DATABASE).exists());
}

#[test]
fn difference_is_found() {
    let entry = |key: &str, value: &str, seq| Entry {
        kind: Kind::Token,
        key: key.to_owned(),
        seq: Seq(seq),
        value: value.to_owned(),
    };
    let source = || Snapshot {
        seq: Seq(2),
        entries: vec![entry("a", "1", 1), entry("b", "1", 2)],
        level: crate::Level::OWN,
    };
    assert!(same(&source(), &source()).is_ok());
    let differs = |change: &dyn Fn(&mut Snapshot)| {
        let mut copy = source();
        change(&mut copy);
        let differs = matches!(same(&source(), &copy), Err(CopyError::Differs(_)));
        let reverse = matches!(same(&copy, &source()), Err(CopyError::Differs(_)));
        assert!(differs && reverse);
    };
    differs(&|copy| drop(copy.entries.pop()));
    differs(&|copy| copy.entries[0].value = "2".to_owned());
    differs(&|copy| copy.entries[0].seq = Seq(2));
    differs(&|copy| copy.entries[1].key = "c".to_owned());
    differs(&|copy| copy.seq = Seq(3));
    differs(&|copy| copy.entries.push(entry("c", "1", 2)));
}
