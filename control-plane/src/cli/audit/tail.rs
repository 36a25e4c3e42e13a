//! `countersign audit tail`: the newest published entries. It shows, it does not judge: that is
//! `audit verify`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use countersign_cli::{Exit, Failure};
use jiff::Timestamp;
use serde::Serialize;
use tlog_tiles::Tile;

use super::folder::{Folder, WIDTH, full};
use super::keys::LogKeys;
use super::{DEFAULT_LOG, bundle, entry};
use crate::cli::output::{Items, Output};

pub(super) const EXAMPLES: &str = "Examples:\n  \
    countersign audit tail -n 50\n  \
    countersign audit tail --follow --json --log /var/lib/countersign/log\n\n\
    With --follow and --json, each line is one JSON value.";

/// Most entries that are shown at once.
const MAX_ENTRIES: u64 = 100_000;
/// How often the checkpoint is looked at.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(in crate::cli) struct Tail {
    /// The folder of the log
    #[arg(long, value_name = "DIR", default_value = DEFAULT_LOG)]
    log: PathBuf,
    /// The log's verifier key, as text or file [default: the key.vkey of the log]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Option<String>,
    /// How many entries
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(0..=MAX_ENTRIES))]
    lines: u64,
    /// Go on with what is published later
    #[arg(long, short)]
    follow: bool,
}

/// One entry as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    index: u64,
    at: Option<Timestamp>,
    kind: &'static str,
    #[serde(flatten)]
    facts: BTreeMap<&'static str, String>,
    /// The facts in the order in which a line tells them.
    #[serde(skip)]
    told: String,
}

impl Tail {
    pub(super) async fn run(self, output: Output) -> Result<Exit, Failure> {
        let folder = Folder::new(&self.log);
        let key = LogKeys::open(self.key.as_deref(), &folder)?;
        let mut size = size(&folder, &key)?;
        let first = retained(&folder)?.max(size.saturating_sub(self.lines));
        let lines = lines(&folder, first, size)?;
        if !self.follow {
            let items = Items { items: lines };
            let text = |items: &Items<Line>| {
                let lines: Vec<String> = items.items.iter().map(text).collect();
                lines.join("\n")
            };
            output.show(&items, text)?;
            return Ok(Exit::Yes);
        }
        let mut lines = lines;
        loop {
            for line in lines.drain(..) {
                if !output.line(&line, text)? {
                    return Ok(Exit::Yes);
                }
            }
            let newest = self.longer(&folder, &key, size).await?;
            lines = self::lines(&folder, size, newest)?;
            size = newest;
        }
    }

    /// Waits until the log is longer, and gives at most [`MAX_ENTRIES`] more.
    async fn longer(&self, folder: &Folder, key: &LogKeys, size: u64) -> Result<u64, Failure> {
        loop {
            let newest = self::size(folder, key)?;
            if newest > size {
                return Ok(newest.min(size + MAX_ENTRIES));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn size(folder: &Folder, key: &LogKeys) -> Result<u64, Failure> {
    let checkpoint = key.checkpoint(&folder.checkpoint()?);
    let checkpoint = checkpoint.map_err(|problem| {
        let message = format!("{} {problem}", folder.checkpoint_path().display());
        unsound(message)
    })?;
    Ok(checkpoint.size())
}

fn retained(folder: &Folder) -> Result<u64, Failure> {
    folder
        .first_retained()
        .map_err(|(path, problem)| unsound(format!("{} {problem}", path.display())))
}

pub(super) fn lines(folder: &Folder, first: u64, end: u64) -> Result<Vec<Line>, Failure> {
    let (mut lines, mut next) = (Vec::new(), first);
    let width = u64::from(WIDTH);
    while next < end {
        let number = next / width;
        let count = width.min(end - number * width);
        let found = read(folder, number, count)?;
        let skipped = usize::try_from(next % width).expect("a bundle has 256 entries");
        let numbered = (next..).zip(found.into_iter().skip(skipped));
        lines.extend(numbered.map(|(index, bytes)| line(index, &bytes)));
        next = number * width + count;
    }
    Ok(lines)
}

/// The first entries of a bundle. A partial one may be replaced by a wider one meanwhile.
pub(super) fn read(folder: &Folder, number: u64, count: u64) -> Result<Vec<Vec<u8>>, Failure> {
    let count = u32::try_from(count).expect("a bundle has 256 entries");
    let whole = full(0, number);
    let tile = Tile::new(whole.height(), 0, number, count, false);
    let path = folder.bundle_path(tile);
    let bundle = folder.bundle(tile);
    let (bytes, ends) = bundle.map_err(|unread| unsound(format!("{} {unread}", path.display())))?;
    let placed = bundle::entries(&bytes, count as usize, ends).map_err(|offset| {
        let problem = "the lengths of the entries do not add up";
        unsound(format!("{} byte {offset}: {problem}", path.display()))
    })?;
    Ok(placed.iter().map(|placed| placed.entry.to_vec()).collect())
}

fn line(index: u64, bytes: &[u8]) -> Line {
    let Ok(entry) = entry::decode(bytes) else {
        return Line {
            index,
            at: None,
            kind: "undecodable",
            facts: BTreeMap::new(),
            told: String::new(),
        };
    };
    let facts = entry::facts(&entry);
    let told: Vec<String> = facts
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    Line {
        index,
        at: entry::made_at(&entry),
        kind: entry::kind(&entry),
        told: told.join(" "),
        facts: facts.into_iter().collect(),
    }
}

pub(super) fn text(line: &Line) -> String {
    let at = line.at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    format!("{} {at} {} {}", line.index, line.kind, line.told)
}

fn unsound(message: String) -> Failure {
    let remedy = "run countersign audit verify on this log";
    Failure::new(Exit::No, "log_unsound", message, remedy)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use countersign_tlog::{Log, Options};

    use super::*;

    #[tokio::test]
    async fn follow_wakes_for_the_next_checkpoint() {
        let scene = tempfile::tempdir().unwrap();
        let log = Log::open(&Options {
            dir: scene.path().join("log"),
            key: scene.path().join("key"),
            origin: "example.org/log".to_owned(),
        });
        let log = log.unwrap();
        let publish = async || {
            // Field 99, varint 1: a kind of a later version.
            let entry = vec![0x98, 0x06, 0x01];
            let appended = log.append(|_| Ok::<_, Infallible>(entry)).await;
            appended.unwrap();
            log.publish(Timestamp::UNIX_EPOCH).unwrap();
        };
        publish().await;
        let tail = Tail {
            log: scene.path().join("log"),
            key: None,
            lines: 1,
            follow: true,
        };
        let folder = Folder::new(&tail.log);
        let key = LogKeys::open(None, &folder).unwrap();
        assert_eq!(size(&folder, &key).unwrap(), 1);
        let later = futures_util::future::join(tail.longer(&folder, &key, 1), publish());
        assert_eq!(later.await.0.unwrap(), 2);
        assert_eq!(lines(&folder, 1, 2).unwrap()[0].kind, "unknown");
    }
}
