use futures_util::future::join_all;

use super::contract::{Files, Place, Server};
use super::*;

fn entry(log_id: u32, index: u64) -> LogEntry {
    LogEntry {
        log_id,
        index,
        bytes: format!("entry {index} of {log_id}").into_bytes(),
    }
}

fn signature(log_id: u32, index: u64, text: &str) -> LogSignature {
    LogSignature {
        log_id,
        index,
        bytes: text.into(),
    }
}

fn entries(entries: impl IntoIterator<Item = LogEntry>) -> Commit {
    Commit {
        entries: entries.into_iter().collect(),
        ..Commit::default()
    }
}

fn signatures(signatures: impl IntoIterator<Item = LogSignature>) -> Commit {
    Commit {
        signatures: signatures.into_iter().collect(),
        ..Commit::default()
    }
}

/// All pages of all logs, as a start reads them.
async fn everything(store: &Store) -> LogPage {
    let (mut all, mut after) = (LogPage::new(), (Seq(0), 0, 0));
    loop {
        let page = store.log_page(after).await.unwrap();
        let Some((seq, entry, _)) = page.last() else {
            return all;
        };
        after = (*seq, entry.log_id, entry.index);
        all.extend(page);
    }
}

async fn entries_and_signatures_are_found_in_order(place: impl Place) {
    let (store, _) = place.open().await;
    let both = Commit {
        writes: vec![put("a", 1)],
        entries: vec![entry(2, 1), entry(2, 0), entry(1, 0)],
        ..Commit::default()
    };
    let first = make(&store, both).await.unwrap();
    let second = make(&store, entries([entry(1, 1)])).await.unwrap();
    let signed = signatures([signature(2, 0, "s"), signature(1, 1, "t")]);
    let third = make(&store, signed).await.unwrap();
    assert_eq!([first, second, third], [Seq(1), Seq(2), Seq(3)]);
    drop(store);

    let (store, newest) = place.open().await;
    assert_eq!(newest, third);
    assert!(store.keeps_log());
    let of_one = [(entry(1, 0), first), (entry(1, 1), second)];
    assert_eq!(store.log_entries(1, 0).await.unwrap(), of_one);
    assert_eq!(store.log_entries(1, 1).await.unwrap(), of_one[1..]);
    assert_eq!(store.log_entries(1, 2).await.unwrap(), []);
    assert_eq!(store.log_size(2).await.unwrap(), 2);
    assert_eq!(store.log_size(3).await.unwrap(), 0);
    let all = [
        (first, entry(1, 0), None),
        (first, entry(2, 0), Some(b"s".to_vec())),
        (first, entry(2, 1), None),
        (second, entry(1, 1), Some(b"t".to_vec())),
    ];
    assert_eq!(everything(&store).await, all);
    let after_one = store.log_page((first, 2, 0)).await.unwrap();
    assert_eq!(after_one, all[2..]);
    for row in &all {
        let found = store.log_entry(row.1.log_id, row.1.index).await.unwrap();
        assert_eq!(found.as_ref(), Some(row));
    }
    assert_eq!(store.log_entry(1, 2).await.unwrap(), None);
    assert_eq!(store.log_entry(3, 0).await.unwrap(), None);
    assert_eq!(store.log_unsigned(1, 0).await.unwrap(), [0]);
    assert_eq!(store.log_unsigned(2, 0).await.unwrap(), [1]);
    assert!(store.log_unsigned(2, 2).await.unwrap().is_empty());
}

/// As many as a page has, and the next ones after the last.
async fn unsigned_entries_are_told_in_pages(place: impl Place) {
    let (store, _) = place.open().await;
    let many = ROWS_PER_READ as u64 + 3;
    let all = entries((0..many).map(|index| entry(1, index)));
    make(&store, all).await.unwrap();
    let signed = signatures([signature(1, 1, "s")]);
    make(&store, signed).await.unwrap();
    let first = store.log_unsigned(1, 0).await.unwrap();
    assert_eq!(
        (first.len(), first[..2].to_vec()),
        (ROWS_PER_READ, vec![0, 2])
    );
    let last = first.last().unwrap();
    let rest = store.log_unsigned(1, last + 1).await.unwrap();
    assert_eq!(rest, [many - 2, many - 1]);
}

/// Who follows is given what a commit made, all of it and in one piece.
async fn commit_is_told_of_whole(place: impl Place) {
    let (store, _) = place.open().await;
    let both = Commit {
        writes: vec![put("b", 1), put("a", 1)],
        entries: vec![entry(1, 1), entry(1, 0)],
        signatures: vec![signature(1, 1, "s")],
        ..Commit::default()
    };
    let seq = make(&store, both).await.unwrap();
    let told = store.changes_after(Seq(0)).await.unwrap().unwrap();
    let whole = Committed {
        seq,
        writes: vec![put("b", 1), put("a", 1)],
        entries: vec![entry(1, 0), entry(1, 1)],
        signatures: vec![signature(1, 1, "s")],
    };
    assert_eq!(told, [whole]);
}

async fn second_entry_of_an_index_is_refused(place: impl Place) {
    let (store, _) = place.open().await;
    make(&store, entries([entry(1, 0)])).await.unwrap();
    let other = LogEntry {
        bytes: b"another".to_vec(),
        ..entry(1, 0)
    };
    let twice = Commit {
        writes: vec![put("a", 1)],
        ..entries([entry(1, 1), other])
    };
    let alone = make(&store, twice.clone()).await.unwrap_err();
    let told = "the issuance log 1 has an entry 0 already";
    assert_eq!(alone.to_string(), told);
    // Others of its batch are made, and see nothing of it.
    let batch = [entries([entry(2, 0)]), twice, entries([entry(1, 1)])];
    let made = join_all(batch.map(|commit| make(&store, commit))).await;
    assert!(matches!(made[0], Ok(Seq(2))), "{made:?}");
    let refused = StoreError::EntryExists {
        log_id: 1,
        index: 0,
    };
    assert_eq!(
        made[1].as_ref().unwrap_err().to_string(),
        refused.to_string()
    );
    assert!(matches!(made[2], Ok(Seq(3))), "{made:?}");
    let kept = store.log_entries(1, 0).await.unwrap();
    assert_eq!(kept, [(entry(1, 0), Seq(1)), (entry(1, 1), Seq(3))]);
    assert!(store.snapshot().await.unwrap().entries.is_empty());
}

async fn first_signature_is_kept(place: impl Place) {
    let (store, _) = place.open().await;
    make(&store, entries([entry(1, 0)])).await.unwrap();
    let twice = signatures([signature(1, 0, "first"), signature(1, 0, "second")]);
    make(&store, twice).await.unwrap();
    let again = signatures([signature(1, 0, "third")]);
    assert_eq!(make(&store, again).await.unwrap(), Seq(3));
    let page = store.log_page((Seq(0), 0, 0)).await.unwrap();
    assert_eq!(page[0].2.as_deref(), Some("first".as_bytes()));
    let told = store.changes_after(Seq(1)).await.unwrap().unwrap();
    let signed = told.into_iter().flat_map(|commit| commit.signatures);
    let signed: Vec<_> = signed.collect();
    assert_eq!(signed, [signature(1, 0, "first")], "as it was kept");
}

async fn pages_of_a_log_are_bounded(place: impl Place) {
    let (store, _) = place.open().await;
    for commit in 0..3 {
        let of = (0..700).map(|n| entry(1, commit * 700 + n));
        make(&store, entries(of)).await.unwrap();
    }
    let page = store.log_entries(1, 0).await.unwrap();
    assert_eq!(page.len(), ROWS_PER_READ);
    let all = everything(&store).await;
    let indexes = all.iter().map(|(_, entry, _)| entry.index);
    assert!(indexes.eq(0..2_100), "each once, in order");
    let told = store.changes_after(Seq(0)).await.unwrap().unwrap();
    let seqs: Vec<_> = told.iter().map(|commit| commit.seq.0).collect();
    assert_eq!(seqs, [1, 2], "as many as there is room for, each whole");
}

async fn pages_of_large_commits_are_bounded(place: impl Place) {
    let (store, _) = place.open().await;
    for index in 0..4 {
        let large = LogEntry {
            bytes: vec![7; BYTES_PER_READ / 2],
            ..entry(1, index)
        };
        make(&store, entries([large])).await.unwrap();
    }
    let (mut after, mut pages) = (Seq(0), Vec::new());
    loop {
        let page = store.changes_after(after).await.unwrap().unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        pages.push(page.len());
    }
    assert_eq!(pages.iter().sum::<usize>(), 4);
    assert!(pages.iter().all(|length| *length <= 3), "{pages:?}");
}

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
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
    entries_and_signatures_are_found_in_order,
    unsigned_entries_are_told_in_pages,
    commit_is_told_of_whole,
    second_entry_of_an_index_is_refused,
    first_signature_is_kept,
    pages_of_a_log_are_bounded,
    pages_of_large_commits_are_bounded,
);

/// A page of a log ends where its bytes end, and goes on from there.
#[tokio::test]
async fn large_entries_are_read_in_parts() {
    let server = Server::new();
    let (store, _) = server.open().await;
    let large = |index| LogEntry {
        bytes: vec![7; BYTES_PER_READ / 2 + 1],
        ..entry(1, index)
    };
    for index in 0..3 {
        make(&store, entries([large(index)])).await.unwrap();
    }
    assert_eq!(store.log_entries(1, 0).await.unwrap().len(), 2);
    assert_eq!(store.log_entries(1, 2).await.unwrap().len(), 1);
    assert_eq!(everything(&store).await.len(), 3);
}

#[tokio::test]
async fn files_keep_no_log() {
    let files = Files::new();
    let (store, _) = files.open().await;
    assert!(!store.keeps_log());
    let both = Commit {
        writes: vec![put("a", 1)],
        ..entries([entry(1, 0)])
    };
    let refused = make(&store, both).await.unwrap_err();
    assert!(matches!(refused, StoreError::NoLog), "{refused}");
    assert!(store.snapshot().await.unwrap().entries.is_empty());
    assert_eq!(store.log_entries(1, 0).await.unwrap(), []);
    assert_eq!(store.log_entry(1, 0).await.unwrap(), None);
    assert!(store.log_unsigned(1, 0).await.unwrap().is_empty());
}
