//! A process that appends is killed again and again: what it acknowledged is there, once, and no
//! index is missing. So it is with an archive, which has a batch more than the disk when it dies.

#![allow(
    clippy::unwrap_used,
    reason = "what a test starts and reads either works or the test failed"
)]

use std::convert::Infallible;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_tlog::{Archive, Log, NotKept, Options};
use jiff::{SignedDuration, Timestamp};

const FOLDER: &str = "COUNTERSIGN_TEST_LOG";
/// Set where the log has an archive: after how many batches of it the process dies, before the disk
/// has the last one.
const ARCHIVE: &str = "COUNTERSIGN_TEST_ARCHIVE";
const ROUNDS: u32 = 60;
const LIMIT: Duration = Duration::from_secs(10);
/// Most acknowledgements that are read before a kill.
const MOST: u32 = 400;

fn options(folder: &Path) -> Options {
    Options {
        dir: folder.join("log"),
        key: folder.join("log.key"),
        origin: "example.org/log".to_owned(),
    }
}

fn body(index: u64) -> Vec<u8> {
    let length = usize::try_from(index % 500).unwrap();
    format!("{index} {}", "-".repeat(length)).into_bytes()
}

/// An archive in a file: entries behind their lengths. What a kill left of the last batch is none.
#[derive(Debug)]
struct InFile {
    file: File,
    end: u64,
    /// How many batches it lives for.
    lives: u32,
}

impl InFile {
    /// Cuts off a batch that was not written whole.
    fn open(folder: &Path, lives: u32) -> Self {
        let path = folder.join("archive");
        let batches = Self::batches(folder);
        let length: usize = batches.iter().map(|batch| batch_bytes(batch).len()).sum();
        let file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        file.set_len(length as u64).unwrap();
        let end = batches.iter().map(Vec::len).sum::<usize>() as u64;
        Self { file, end, lives }
    }

    fn batches(folder: &Path) -> Vec<Vec<Vec<u8>>> {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(folder.join("archive")) {
            file.read_to_end(&mut bytes).unwrap();
        }
        let (mut rest, mut batches) = (&bytes[..], Vec::new());
        while let Some((batch, later)) = batch(rest) {
            batches.push(batch);
            rest = later;
        }
        batches
    }

    fn entries(folder: &Path) -> Vec<Vec<u8>> {
        Self::batches(folder).into_iter().flatten().collect()
    }
}

fn batch_bytes(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = u32::try_from(entries.len()).unwrap().to_be_bytes().to_vec();
    for entry in entries {
        bytes.extend(u32::try_from(entry.len()).unwrap().to_be_bytes());
        bytes.extend(entry);
    }
    bytes
}

fn batch(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, &[u8])> {
    let number = |bytes: &[u8; 4]| usize::try_from(u32::from_be_bytes(*bytes)).ok();
    let (count, mut rest) = bytes.split_first_chunk()?;
    let mut entries = Vec::new();
    for _ in 0..number(count)? {
        let (length, body) = rest.split_first_chunk()?;
        let (entry, later) = body.split_at_checked(number(length)?)?;
        entries.push(entry.to_vec());
        rest = later;
    }
    Some((entries, rest))
}

impl Archive for InFile {
    fn keep(&mut self, first: u64, entries: &[&[u8]]) -> Result<u64, NotKept> {
        assert_eq!(first, self.end, "an index is given twice");
        let entries: Vec<Vec<u8>> = entries.iter().map(|entry| entry.to_vec()).collect();
        self.file.write_all(&batch_bytes(&entries)).unwrap();
        self.end += entries.len() as u64;
        self.lives -= 1;
        if self.lives == 0 {
            std::process::abort();
        }
        Ok(self.end)
    }

    fn end(&mut self) -> Result<u64, String> {
        Ok(self.end)
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let folder = std::env::var_os(FOLDER).ok_or("the process that is killed asks")?;
        let numbered = (0..).zip(Self::entries(folder.as_ref()));
        Ok(numbered.skip_while(|(index, _)| *index < from).collect())
    }
}

#[test]
#[ignore = "the process that is killed; the test beside it starts it"]
fn append_until_killed() {
    let folder = std::env::var_os(FOLDER).expect("the test that starts this one sets it");
    let log = match std::env::var_os(ARCHIVE) {
        None => Log::open(&options(folder.as_ref())).unwrap(),
        Some(lives) => {
            let lives = lives.to_str().unwrap().parse().unwrap();
            let archive = InFile::open(folder.as_ref(), lives);
            let log = Log::open_with(&options(folder.as_ref()), Box::new(archive)).unwrap();
            let last = log.size().checked_sub(1);
            assert!(last.is_none_or(|last| *log.entry(last).unwrap().unwrap() == *body(last)));
            log
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        for round in 0u32.. {
            let appends =
                (0..=round % 30).map(|_| log.append(|index| Ok::<_, Infallible>(body(index))));
            let mut acknowledged = String::new();
            for index in futures_util::future::join_all(appends).await {
                let index = index.unwrap().index;
                log.attach(index, &index.to_be_bytes()).unwrap();
                acknowledged.push_str(&format!("acknowledged {index}\n"));
            }
            std::io::stdout()
                .write_all(acknowledged.as_bytes())
                .unwrap();
            if round % 5 == 4 {
                let now = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(i64::from(round));
                log.publish(now).unwrap();
            }
            if round % 40 == 39 {
                log.prune(log.size().saturating_sub(2000)).unwrap();
            }
        }
    });
}

fn start(folder: &Path, lives: Option<u32>) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "append_until_killed"])
        .env(FOLDER, folder)
        .envs(lives.map(|lives| (ARCHIVE, lives.to_string())))
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the process until it acknowledged some entries, kills it, and gives what it acknowledged.
fn run(folder: &Path, enough: u32) -> Vec<u64> {
    let mut child = start(folder, None);
    let (mut acknowledged, mut killed) = (Vec::new(), false);
    // After the kill the pipe still holds what was said before it.
    for index in said(&mut child) {
        acknowledged.push(index);
        if !killed && acknowledged.len() >= enough as usize {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the process ended by itself");
    acknowledged
}

/// What a process acknowledges until it ends.
fn said(child: &mut Child) -> impl Iterator<Item = u64> + use<> {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let lines = stdout.lines().map(Result::unwrap);
    lines.filter_map(|line| Some(line.strip_prefix("acknowledged ")?.parse().unwrap()))
}

#[test]
fn acknowledged_entries_survive_kills_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let (mut begin, mut size, mut rounds) = (Instant::now(), 0, 0);
    while rounds < ROUNDS && begin.elapsed() < LIMIT {
        let acknowledged = run(folder.path(), random.u32(1..MOST));
        let log = Log::open(&options(folder.path())).unwrap();
        // Each index once and in order: none was given twice, none left out.
        assert!(
            acknowledged
                .iter()
                .copied()
                .eq(size..size + acknowledged.len() as u64)
        );
        assert!(log.size() >= size + acknowledged.len() as u64);
        let mut next = log.first_retained();
        for entry in log.scan(0) {
            let (index, entry) = entry.unwrap();
            assert_eq!((index, &*entry), (next, &*body(index)));
            next += 1;
        }
        size = log.size();
        assert_eq!(next, size);
        rounds += 1;
        if rounds == 1 {
            begin = Instant::now();
        }
    }
    assert!(rounds > 3, "only {rounds} kills");
}

/// The process dies when the archive has a batch and the disk does not.
#[test]
fn archive_heals_a_log_that_died_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(8);
    let mut size = 0;
    for round in 0..20 {
        let mut child = start(folder.path(), Some(random.u32(1..40)));
        let acknowledged: Vec<u64> = said(&mut child).collect();
        child.wait().unwrap();
        let entries = InFile::entries(folder.path());
        let kept = entries.len() as u64;
        assert!(
            (0..)
                .zip(&entries)
                .all(|(index, entry)| *entry == body(index))
        );
        // Opened without the archive: what is left on the disk.
        let there = Log::open(&options(folder.path())).unwrap().size();
        assert!(
            there < kept,
            "the disk has {there} entries and the archive {kept}"
        );
        // Each index once and in order. What was kept and not acknowledged is there, and taken.
        let first = acknowledged.first().copied().unwrap_or(size);
        assert_eq!(first, size, "round {round}");
        let end = first + acknowledged.len() as u64;
        assert!(acknowledged.iter().copied().eq(first..end));
        assert!(
            end <= there,
            "entry {there} is acknowledged and not on the disk"
        );
        size = kept;
        if random.u32(..8) == 0 {
            std::fs::remove_dir_all(folder.path().join("log")).unwrap();
        }
    }
}
