pub(crate) mod contract;
pub(crate) mod handing;
mod levels;
mod logs;
mod sqlite;

use super::*;

pub(crate) fn put(key: &str, value: u32) -> Write {
    Write::put(Kind::Token, key, &value)
}

/// Makes a commit of which nothing is to be told.
pub(crate) async fn make(store: &Store, commit: Commit) -> Result<Seq, StoreError> {
    store.commit_then(commit, |_| ()).await
}

/// A page of what was written after a commit.
pub(crate) async fn changes(store: &Store, after: Seq) -> Vec<(Seq, Write)> {
    let page = store.changes_after(after).await.unwrap().unwrap();
    let written = page.into_iter().flat_map(|commit| {
        let writes = commit.writes.into_iter();
        writes.map(move |write| (commit.seq, write))
    });
    written.collect()
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
