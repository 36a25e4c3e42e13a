//! `countersign audit tail`: the newest published entries. It shows, it does not judge: that is
//! `audit verify`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use countersign_audit::{Folder, LogKeys, PublishedEntry, entries, first_retained, size};
use countersign_cli::{Exit, Failure};
use jiff::Timestamp;
use serde::Serialize;

use super::DEFAULT_LOG;
use super::failure::failure;
use crate::output::{Items, Output};

pub(super) const EXAMPLES: &str = "Examples:\n  \
    countersign audit tail -n 50\n  \
    countersign audit tail --follow --json --log /var/lib/countersign/control-plane/log\n\n\
    With --follow and --json, each line is one JSON value.";

/// Most entries that are shown at once.
const MAX_ENTRIES: u64 = 100_000;
/// How often the checkpoint is looked at.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct Tail {
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

impl From<PublishedEntry> for Line {
    fn from(entry: PublishedEntry) -> Self {
        let facts = entry.facts.iter();
        let told: Vec<String> = facts
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        Self {
            index: entry.index,
            at: entry.at,
            kind: entry.kind,
            told: told.join(" "),
            facts: entry.facts.into_iter().collect(),
        }
    }
}

impl Tail {
    pub(super) async fn run(self, output: Output) -> Result<Exit, Failure> {
        let folder = Folder::new(&self.log);
        let keys = LogKeys::open(self.key.as_deref(), &folder).map_err(failure)?;
        let mut size = size(&folder, &keys).map_err(failure)?;
        let retained = first_retained(&folder).map_err(failure)?;
        let first = retained.max(size.saturating_sub(self.lines));
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
            let newest = self.longer(&folder, &keys, size).await?;
            lines = self::lines(&folder, size, newest)?;
            size = newest;
        }
    }

    /// Waits until the log is longer, and gives at most [`MAX_ENTRIES`] more.
    async fn longer(&self, folder: &Folder, keys: &LogKeys, size: u64) -> Result<u64, Failure> {
        loop {
            let newest = countersign_audit::size(folder, keys).map_err(failure)?;
            if newest > size {
                return Ok(newest.min(size + MAX_ENTRIES));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

pub(super) fn lines(folder: &Folder, first: u64, end: u64) -> Result<Vec<Line>, Failure> {
    let entries = entries(folder, first, end).map_err(failure)?;
    Ok(entries.into_iter().map(Line::from).collect())
}

pub(super) fn text(line: &Line) -> String {
    let at = line.at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    format!("{} {at} {} {}", line.index, line.kind, line.told)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use countersign_tlog::{Log, Options};

    use super::*;

    /// Field 10, a message that is empty: index 0.
    const VOID_OF_0: [u8; 2] = [0x52, 0x00];

    #[test]
    fn void_tells_its_own_place_and_that_of_what_it_takes_back() {
        let scene = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let log = Log::open(&Options {
            dir: scene.path().join("log"),
            key: scene.path().join("key"),
            origin: "example.org/log".to_owned(),
        });
        let log = log.unwrap();
        for entry in [vec![0x98, 0x06, 0x01], VOID_OF_0.to_vec()] {
            let appended = log.append(|_| Ok::<_, Infallible>(entry));
            runtime.block_on(appended).unwrap();
        }
        log.publish(Timestamp::UNIX_EPOCH).unwrap();
        let lines = lines(&Folder::new(&scene.path().join("log")), 0, 2).unwrap();
        let told = serde_json::to_string(&lines[1]).unwrap();
        let expected = r#""index":1,"at":null,"kind":"voided","takes_back":"0""#;
        assert!(told.contains(expected), "{told}");
    }

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
