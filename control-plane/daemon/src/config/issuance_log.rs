//! `[issuance_log]`: how long the bodies of its entries are kept.

use std::time::Duration;

use countersign_cli::{Key, Reader};
use serde::Serialize;

use countersign_authority::Retention;

const KEEP_FOR: Key = Key::new(
    "issuance_log.keep_for",
    "How long the bodies of log entries are kept at least. Their hashes are kept for ever.",
);
const KEEP_ENTRIES: Key = Key::new(
    "issuance_log.keep_entries",
    "How many of the newest bodies are kept at least, however old they are.",
);

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// No certificate lives longer than a day, so the entry of every valid one is there.
const SHORTEST: Duration = Duration::from_secs(2 * 24 * 3_600);
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3_600);
const MOST_ENTRIES: u64 = 1 << 40;

/// Retention of the issuance log.
#[derive(Clone, Debug, Serialize)]
pub struct IssuanceLog {
    /// `keep_for`: bodies younger than this are kept.
    #[serde(rename = "keep_for_secs", serialize_with = "super::whole_secs")]
    pub keep_for: Duration,
    /// `keep_entries`: this many of the newest bodies are kept, however old.
    pub keep_entries: u64,
}

impl IssuanceLog {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            keep_for: reader.duration(&KEEP_FOR, DAY * 90, SHORTEST..=LONGEST),
            keep_entries: reader.integer(&KEEP_ENTRIES, 100_000, 0..=MOST_ENTRIES),
        }
    }

    pub(super) fn retention(&self) -> Retention {
        Retention {
            age: self.keep_for,
            entries: self.keep_entries,
        }
    }
}
