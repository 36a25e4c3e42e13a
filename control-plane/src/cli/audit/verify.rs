//! `countersign audit verify`: recomputes everything that the checkpoints of a log sign.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_cli::{Exit, Failure};
use serde::Serialize;
use tlog_tiles::Checkpoint;

use super::DEFAULT_LOG;
use super::census::{Census, GoesOn, Keys, SharedKey};
use super::flaw::{Flaw, Flaws};
use super::folder::{Folder, MAX_TEXT_BYTES, Unread, edge, read};
use super::frontier::Frontier;
use super::keys::LogKeys;
use super::walk::{Claim, Read, Walk};
use crate::cli::output::Output;

pub(super) const EXAMPLES: &str = "Examples:\n  \
    countersign audit verify --log /var/lib/countersign/log --key log.vkey\n  \
    countersign audit verify --log a/log --log b/log --json\n  \
    countersign audit verify --key log.vkey --checkpoint kept-last-week\n  \
    countersign audit verify --key log.vkey --key before.vkey --checkpoint kept-before-the-restore\n\n\
    Exit 0: sound. Exit 1: a file, byte or entry is wrong, or a key was certified for two IDs.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// The folder of a log; several are also compared with each other [default: ./cp/log]
    #[arg(long, value_name = "DIR")]
    log: Vec<PathBuf>,
    /// The verifier key of the log as it is now, as text or file. Further ones are of the logs that
    /// it goes on from after a restore: they count for kept checkpoints only. The first is that of
    /// every --log [default: the key.vkey of each log]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Vec<String>,
    /// A checkpoint that was kept elsewhere, of this log or of one that it goes on from
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) sound: bool,
    pub(super) logs: Vec<Report>,
    pub(super) flaws: Vec<Flaw>,
    pub(super) shared_keys: Vec<SharedKey>,
    /// Certificates whose keys were too many to compare.
    pub(super) keys_not_compared: u64,
}

/// One log.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) log: String,
    pub(super) origin: String,
    pub(super) log_id: Option<String>,
    pub(super) size: u64,
    pub(super) root_hash: String,
    /// Entries below have no bodies any more: of them, tiles alone were checked.
    pub(super) first_retained: u64,
    /// Logs that it goes on from after a restore, oldest first; none that its retained entries do
    /// not tell of.
    pub(super) goes_on_from: Vec<GoesOn>,
    pub(super) checkpoints: usize,
    pub(super) kinds: BTreeMap<&'static str, u64>,
    pub(super) bytes: u64,
    /// Whether the key was given, so that the signature says who wrote this.
    pub(super) authentic: bool,
}

impl Verify {
    #[allow(clippy::needless_pass_by_value, reason = "the shape of every verb")]
    pub(super) fn run(self, output: Output) -> Result<Exit, Failure> {
        let verdict = self.judge(output)?;
        output.show(&verdict, text)?;
        Ok(if verdict.sound { Exit::Yes } else { Exit::No })
    }

    /// One log, by the key beside it.
    pub(super) fn of(log: &Path) -> Self {
        Self {
            log: vec![log.to_owned()],
            key: Vec::new(),
            checkpoint: Vec::new(),
        }
    }

    pub(super) fn judge(&self, output: Output) -> Result<Verdict, Failure> {
        let folders = match &self.log[..] {
            [] => vec![PathBuf::from(DEFAULT_LOG)],
            given => given.to_vec(),
        };
        let (mut keys, mut logs, mut flaws) = (Keys::default(), Vec::new(), Vec::new());
        for path in &folders {
            let folder = Folder::new(path);
            let key = LogKeys::open(self.key.iter().map(String::as_str), &folder)?;
            let (report, found) = verify(&folder, &key, &self.checkpoint, &mut keys, output)?;
            logs.extend(report);
            flaws.extend(found);
        }
        Ok(Verdict {
            sound: flaws.is_empty() && keys.shared.is_empty(),
            logs,
            flaws,
            shared_keys: keys.shared,
            keys_not_compared: keys.not_compared,
        })
    }
}

/// Verifies one log. Without a sound newest checkpoint there is nothing to report but that.
pub(super) fn verify(
    folder: &Folder,
    key: &LogKeys,
    given: &[PathBuf],
    keys: &mut Keys,
    output: Output,
) -> Result<(Option<Report>, Vec<Flaw>), Failure> {
    // Listed before the newest checkpoint is read, so that none of them is newer.
    let mut paths = folder.kept()?;
    paths.extend(given.iter().cloned());
    let (checkpoint, edge) = match newest(folder, key)? {
        Ok(newest) => newest,
        Err(flaw) => return Ok((None, vec![flaw])),
    };
    let mut flaws = Flaws::default();
    let first_retained = folder.first_retained().unwrap_or_else(|(path, problem)| {
        flaws.push(Flaw::new(&path, problem));
        0
    });
    let mut walk = Walk {
        folder,
        output,
        size: checkpoint.size(),
        root: *checkpoint.hash(),
        first_retained,
        claims: claims(&paths, key, &mut flaws),
        frontier: Frontier::default(),
        census: Census::new(keys),
        flaws,
        bytes: 0,
    };
    walk.run(&edge);
    walk.is_called(checkpoint.origin());
    let report = Report {
        log: folder.path().display().to_string(),
        origin: checkpoint.origin().to_owned(),
        log_id: walk.census.log_id.map(|id| format!("{id:06x}")),
        size: walk.size,
        root_hash: hex::encode(walk.root.0),
        first_retained,
        goes_on_from: walk.census.restores,
        checkpoints: 1 + paths.len(),
        kinds: walk.census.kinds,
        bytes: walk.bytes,
        authentic: key.given,
    };
    Ok((Some(report), walk.flaws.into_vec()))
}

/// The newest checkpoint and the tiles at its right edge.
fn newest(
    folder: &Folder,
    key: &LogKeys,
) -> Result<Result<(Checkpoint, Vec<Read>), Flaw>, Failure> {
    let checkpoint = match key.checkpoint(&folder.checkpoint()?) {
        Ok(checkpoint) => checkpoint,
        Err(problem) => return Ok(Err(Flaw::new(&folder.checkpoint_path(), problem))),
    };
    let read = edge(checkpoint.size()).into_iter().map(|tile| {
        let hashes = folder.tile(tile);
        let flaw = |unread: Unread| Flaw::new(&folder.tile_path(tile), unread.to_string());
        hashes.map(|hashes| Read { tile, hashes }).map_err(flaw)
    });
    let edge: Result<Vec<Read>, Flaw> = read.collect();
    Ok(edge.map(|edge| (checkpoint, edge)))
}

/// What the kept checkpoints say, by size. Whose they are makes no difference: a tree that begins
/// with the entries of another one has its root at that size.
fn claims(paths: &[PathBuf], key: &LogKeys, flaws: &mut Flaws) -> BTreeMap<u64, Vec<Claim>> {
    let mut claims: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for path in paths {
        let note = read(path, MAX_TEXT_BYTES).map_err(|unread| unread.to_string());
        match note.and_then(|note| key.kept(&note)) {
            Ok(kept) => claims.entry(kept.size()).or_default().push(Claim {
                path: path.clone(),
                origin: kept.origin().to_owned(),
                root: *kept.hash(),
            }),
            Err(problem) => flaws.push(Flaw::new(path, problem)),
        }
    }
    claims
}

fn text(verdict: &Verdict) -> String {
    let mut lines: Vec<String> = verdict.logs.iter().map(report_text).collect();
    lines.extend(
        verdict
            .flaws
            .iter()
            .map(|flaw| format!("wrong: {}", flaw.line())),
    );
    for shared in &verdict.shared_keys {
        let [first, second] = shared.serials;
        lines.push(format!(
            "wrong: public key {} was certified for two IDs, by {first} and for {} by {second}",
            shared.spki_sha256, shared.id
        ));
    }
    if verdict.keys_not_compared > 0 {
        lines.push(format!(
            "{} keys were too many to compare",
            verdict.keys_not_compared
        ));
    }
    lines.push(if verdict.sound { "sound" } else { "not sound" }.to_owned());
    lines.join("\n")
}

fn report_text(report: &Report) -> String {
    let kinds: Vec<String> = report
        .kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    let mut text = format!(
        "{} ({}): {} entries, {} checkpoints, {} bytes\n  root {}\n  {}",
        report.log,
        report.origin,
        report.size,
        report.checkpoints,
        report.bytes,
        report.root_hash,
        kinds.join(", ")
    );
    if report.first_retained > 0 {
        text.push_str(&format!(
            "\n  bodies from entry {} on",
            report.first_retained
        ));
    }
    for from in &report.goes_on_from {
        text.push_str(&format!(
            "\n  goes on from the first {} entries of log {}",
            from.entries, from.log_id
        ));
    }
    if !report.authentic {
        text.push_str("\n  the key lies beside the log: this shows integrity, not who wrote it");
    }
    text
}
