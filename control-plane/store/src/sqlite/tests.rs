use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::handing::{Handing, Then};
use crate::writer::{Asked, Job, Writer};
use crate::{DATABASE, DataDir, Entry, Store};

/// Anything that a test waits for happens in this time.
const BOUND: Duration = Duration::from_secs(30);
/// A store that is not stuck answers in this time, or a little later.
const A_MOMENT: Duration = Duration::from_millis(100);
/// So many bytes are 500 pages of the log, for they are kept twice. Its index has room for 4 062.
const LARGE: usize = 1_000_000;
/// So many commits of that size leave a little of it.
const FIRST_LARGE: usize = 7;
/// More than it has room for.
const MOST: usize = 1_000;
/// What the index has at first.
const FIRST_REGION: &str = "32k";

/// A store whose index of the log is a file on a disk of its own.
struct Cramped {
    folder: tempfile::TempDir,
    mounts: Vec<PathBuf>,
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).status().unwrap();
    assert!(
        done.success(),
        "run the tests as root: {program} {arguments:?}"
    );
}

impl Cramped {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDir::open(&folder.path().join("cp")).unwrap());
        let (disk, index) = (folder.path().join("disk"), Self::index(folder.path()));
        std::fs::create_dir(&disk).unwrap();
        let size = format!("size={FIRST_REGION}");
        run("mount", &["-t", "tmpfs", "-o", &size, "none", text(&disk)]);
        std::fs::write(disk.join("index"), "").unwrap();
        std::fs::write(&index, "").unwrap();
        run(
            "mount",
            &["--bind", text(&disk.join("index")), text(&index)],
        );
        Self {
            mounts: vec![index, disk],
            folder,
        }
    }

    fn index(folder: &Path) -> PathBuf {
        folder.join("cp").join(format!("{DATABASE}-shm"))
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("cp").join(DATABASE)
    }

    fn make_room(&self) {
        run("mount", &["-o", "remount,size=1m", text(&self.mounts[1])]);
    }

    async fn open(&self) -> Store {
        let dir = DataDir::open(&self.folder.path().join("cp")).unwrap();
        Store::open(&dir).await.unwrap().0
    }
}

impl Drop for Cramped {
    fn drop(&mut self) {
        self.mounts
            .iter()
            .for_each(|it| run("umount", &["-l", text(it)]));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The first take many pages of the log, and the others few, so that they come close to its end.
fn numbered(n: usize) -> Write {
    let length = if n < FIRST_LARGE { LARGE } else { 1 };
    Write::put(Kind::Token, n.to_string(), &"x".repeat(length))
}

async fn keys(store: &Store) -> Vec<usize> {
    let entries = store.snapshot().await.unwrap().entries;
    let tokens = entries
        .iter()
        .filter(|entry: &&Entry| entry.kind == Kind::Token);
    let mut keys: Vec<usize> = tokens.map(|entry| entry.key.parse().unwrap()).collect();
    keys.sort_unstable();
    keys
}

type Answer = Result<Seq, StoreError>;

/// Commits until one is undecided: what was kept before, and that one.
async fn until_undecided(store: &Arc<Store>) -> (Vec<usize>, usize, JoinHandle<Answer>) {
    let mut kept = Vec::new();
    for n in 0..MOST {
        let writing = Arc::clone(store);
        let commit = async move { writing.commit(vec![numbered(n)], Vec::new()).await };
        let mut commit = tokio::spawn(commit);
        let answer = loop {
            // One that shares its batch waits with it, and the next is refused.
            let flushed = tokio::time::timeout(A_MOMENT, store.flush());
            tokio::select! {
                biased;
                answer = &mut commit => break answer,
                flushed = flushed => match flushed {
                    Ok(Err(error)) if error.to_string().contains("undecided") => {
                        return (kept, n, commit);
                    }
                    _ => {}
                },
            }
        };
        // Whose frames have no room may leave some for those of the next, which decides.
        match answer.unwrap() {
            Ok(_) => kept.push(n),
            Err(StoreError::Batch(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the index has room for everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_without_an_index_is_settled_with_room() {
    let cramped = Cramped::new();
    let store = Arc::new(cramped.open().await);
    let filled = tokio::time::timeout(BOUND, until_undecided(&store)).await;
    let (mut kept, undecided_key, undecided) = filled.unwrap();
    let other = vec![Write::put(Kind::Token, "other", &1)];
    let refused = tokio::time::timeout(BOUND, store.commit(other, Vec::new())).await;
    let refused = refused.expect("who comes later is not held up");
    assert!(matches!(refused, Err(StoreError::Batch(_))), "{refused:?}");
    assert!(!undecided.is_finished() && !store.is_stopped());

    cramped.make_room();
    let answer = tokio::time::timeout(BOUND, undecided).await;
    let answer = answer.unwrap().unwrap();
    eprintln!("after {} commits: {answer:?}", kept.len());
    assert!(!matches!(answer, Err(StoreError::Stopped)));
    kept.extend(answer.is_ok().then_some(undecided_key));
    assert_eq!(keys(&store).await, kept, "as it was answered");
    let later = vec![Write::put(Kind::Token, MOST.to_string(), &1)];
    store.commit(later, Vec::new()).await.unwrap();
    assert!(!store.refused().is_refusing());
    drop(store);

    // What another process finds, whose index is made of the log.
    let store = cramped.open().await;
    kept.push(MOST);
    assert_eq!(keys(&store).await, kept, "as it was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_that_stays_undecided_stops_the_writer() {
    let cramped = Cramped::new();
    // Where it is not the last connection that ends, the log stays as it is.
    let _open = cramped.open().await;
    let connection = connect(&cramped.database()).await.unwrap();
    let (jobs, queue) = mpsc::channel(8);
    let database = Sqlite::new(cramped.database(), connection, Seq(0));
    let handing = Handing::new(Seq(0), false);
    let mut writer = Writer::new(database, Arc::default(), handing, None);
    writer.settle_within = Duration::ZERO;
    let (_hand_over, hand_over) = mpsc::channel(1);
    tokio::spawn(writer.run(Asked {
        jobs: queue,
        hand_over,
    }));
    let stopped = async {
        for n in 0..MOST {
            let (reply, answer) = oneshot::channel();
            let commit = Commit {
                writes: vec![numbered(n)],
                ..Commit::default()
            };
            let then = Then::new(|_| ());
            let job = Job::Commit {
                commit,
                then,
                reply,
            };
            jobs.send(job).await.unwrap();
            match answer.await.unwrap() {
                Ok(_) | Err(StoreError::Batch(_)) => {}
                Err(error) => return error,
            }
        }
        panic!("the index has room for everything");
    };
    let error = tokio::time::timeout(BOUND, stopped).await.unwrap();
    assert!(matches!(error, StoreError::Stopped), "{error:?}");
    assert!(jobs.is_closed());
}

/// What a commit left is found, wherever it failed.
#[tokio::test]
async fn what_is_on_the_disk_decides() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = DataDir::open(&temporary.path().join("cp")).unwrap();
    let (store, _) = Store::open(&dir).await.unwrap();
    let put = |key: &str| vec![Write::put(Kind::Token, key, &1)];
    let before = store.commit(put("1"), Vec::new()).await.unwrap();
    let batch = store.commit(put("2"), Vec::new()).await.unwrap();
    let path = dir.path().join(DATABASE);
    let connection = connect(&path).await.unwrap();
    let mut database = Sqlite::new(path, connection, before);
    let kept = database.settle(&vec![Ok(batch)]).await;
    assert!(matches!(kept, Ok(true)), "{kept:?}");
    let settled = database.newest;
    assert!(settled > batch, "it takes a place of its own");
    let lost = Seq(settled.0 + 1);
    let kept = database.settle(&vec![Ok(lost)]).await;
    assert!(matches!(kept, Ok(false)), "{kept:?}");
    assert!(database.newest > lost, "nobody is given the place again");
    assert_eq!(keys(&store).await, [1, 2]);
}
