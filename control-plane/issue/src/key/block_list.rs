//! The operator's list of keys that must not be certified: `svid.blocked_keys`.
//!
//! One key a line: SHA-256 over its SubjectPublicKeyInfo (DER) in hex, then what the operator likes
//! to note. Empty lines and those that begin with `#` are skipped. Every mistake is reported with
//! its line: a list that is half understood would let through what it was written for.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::SpkiHash;

/// Most lines of a list: 32 MB of hashes in memory.
const MAX_LINES: usize = 1_000_000;
/// Most bytes of a line.
const MAX_LINE_BYTES: u64 = 4_096;
/// Most mistakes that are spelled out; the others are counted.
const MAX_SHOWN: usize = 20;
/// Hex digits of a hash.
const DIGITS: usize = 64;

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BlockListError {
    /// The file cannot be read.
    #[error("svid.blocked_keys cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Lines that say nothing, by number.
    #[error("svid.blocked_keys has mistakes: {0}; write 64 hex digits, then an optional note")]
    Mistakes(String),
    /// More lines than are kept.
    #[error("svid.blocked_keys has more than {MAX_LINES} lines")]
    TooLong,
}

/// Hashes in ascending order: 32 bytes a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockList(Box<[SpkiHash]>);

impl BlockList {
    /// Reads a file.
    pub fn load(file: &Path) -> Result<Self, BlockListError> {
        Self::read(BufReader::new(File::open(file)?))
    }

    /// Reads a list.
    pub fn read(mut source: impl BufRead) -> Result<Self, BlockListError> {
        let (mut hashes, mut mistakes) = (Vec::new(), Mistakes::default());
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = source
                .by_ref()
                .take(MAX_LINE_BYTES)
                .read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            if number > MAX_LINES {
                return Err(BlockListError::TooLong);
            }
            let is_cut = read as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n");
            match hash(&line) {
                _ if is_cut => {
                    mistakes.note(number, "is too long");
                    // What follows is the rest of this line.
                    break;
                }
                Ok(hash) => hashes.extend(hash),
                Err(problem) => mistakes.note(number, problem),
            }
        }
        mistakes.none()?;
        hashes.sort_unstable();
        hashes.dedup();
        Ok(Self(hashes.into_boxed_slice()))
    }

    /// Whether a key is on it.
    pub fn contains(&self, hash: &SpkiHash) -> bool {
        self.0.binary_search(hash).is_ok()
    }

    /// How many keys are on it.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The hash of a line; `None` where it says nothing on purpose.
fn hash(line: &[u8]) -> Result<Option<SpkiHash>, &'static str> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let word = line.split(u8::is_ascii_whitespace).next();
    let word = word.unwrap_or_default();
    if word.len() != DIGITS {
        return Err("does not begin with 64 hex digits");
    }
    let mut hash = SpkiHash::default();
    hex::decode_to_slice(word, &mut hash).map_err(|_| "does not begin with 64 hex digits")?;
    Ok(Some(hash))
}

/// The first mistakes in words, and how many there are. Never quotes the file.
#[derive(Debug, Default)]
struct Mistakes {
    text: String,
    count: usize,
}

impl Mistakes {
    fn note(&mut self, line: usize, problem: &str) {
        self.count += 1;
        if self.count <= MAX_SHOWN {
            let comma = if self.count == 1 { "" } else { ", " };
            let _ = write!(self.text, "{comma}line {line} {problem}");
        }
    }

    fn none(mut self) -> Result<(), BlockListError> {
        if self.count == 0 {
            return Ok(());
        }
        if let Some(more) = self.count.checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            let _ = write!(self.text, ", and {more} more");
        }
        Err(BlockListError::Mistakes(self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BlockList, BlockListError> {
        BlockList::read(text.as_bytes())
    }

    #[test]
    fn hashes_notes_and_comments_are_read() {
        let (one, two) = ("0a".repeat(32), "FF".repeat(32));
        let text = format!("# of the incident\n\n{two}\n  {one}  web, 2026-11\r\n{two}");
        let list = read(&text).unwrap();
        assert_eq!(list.count(), 2);
        assert!(list.contains(&[0x0a; 32]) && list.contains(&[0xff; 32]));
        assert!(!list.contains(&[0; 32]));
        assert_eq!(read("").unwrap(), BlockList::default());
    }

    #[test]
    fn every_mistake_names_its_line() {
        let good = "00".repeat(32);
        let text = format!("{good}\n00\n{good}00\n# fine\n{}\n", "zz".repeat(32));
        let error = read(&text).unwrap_err().to_string();
        for line in ["line 2 ", "line 3 ", "line 5 "] {
            assert!(error.contains(line), "{error}");
        }
        assert!(
            !error.contains("line 1 ") && !error.contains("zz"),
            "{error}"
        );
    }

    #[test]
    fn hostile_lists_stay_within_bounds() {
        let error = read(&"x\n".repeat(1_000)).unwrap_err().to_string();
        assert!(error.contains("and 980 more") && error.len() < 2_000);
        let endless = "0".repeat(1 << 20);
        let error = read(&endless).unwrap_err().to_string();
        assert!(error.contains("line 1 is too long"), "{error}");
        let error = read(&"#\n".repeat(MAX_LINES + 1)).unwrap_err();
        assert!(matches!(error, BlockListError::TooLong));
        assert!(BlockList::load(Path::new("/nonexistent")).is_err());
    }
}
