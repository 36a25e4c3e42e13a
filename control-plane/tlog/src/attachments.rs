//! A small value beside an entry, such as the signature that was made for it. Not part of the
//! tree: it may be lost when power fails, and is then absent, never wrong.
//!
//! A file holds a fixed slot for each of 65,536 indexes and is sparse:
//! ```text
//! length u8 | value, 72 bytes | zeros, 3 bytes | CRC-32 u32 of the index and the 76 bytes before
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crc32fast::Hasher;

use crate::{LogError, MAX_ATTACHMENT_BYTES, files};

/// Where the files are, below the log's folder.
pub(crate) const FOLDER: &str = "signatures";
const SLOT_BYTES: usize = 80;
const CHECKED_BYTES: usize = 76;
/// Slots of a file.
const RANGE: u64 = 65_536;

/// The folder `signatures`.
#[derive(Debug)]
pub(crate) struct Attachments {
    folder: PathBuf,
    /// The file that was used last: nearly always the newest.
    last: Mutex<Option<(u64, Arc<File>)>>,
}

impl Attachments {
    pub(crate) fn open(log: &Path) -> Result<Self, LogError> {
        let folder = log.join(FOLDER);
        files::make_dir(&folder).map_err(LogError::refused(&folder))?;
        Ok(Self {
            folder,
            last: Mutex::new(None),
        })
    }

    /// Keeps a value of at most [`MAX_ATTACHMENT_BYTES`].
    pub(crate) fn write(&self, index: u64, value: &[u8]) -> Result<(), LogError> {
        let slot = encode(index, value).ok_or_else(|| {
            LogError::Refused(format!(
                "more than {MAX_ATTACHMENT_BYTES} bytes beside an entry"
            ))
        })?;
        let path = self.path(index / RANGE);
        self.file(index / RANGE, || files::open_or_create(&path))
            .and_then(|file| file.write_all_at(&slot, offset(index)))
            .map_err(LogError::refused(&path))
    }

    /// The value, unless there is none or it was damaged.
    pub(crate) fn read(&self, index: u64) -> Result<Option<Vec<u8>>, LogError> {
        let path = self.path(index / RANGE);
        let file = match self.file(index / RANGE, || files::open(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(LogError::unreadable(&path))?,
        };
        let mut slot = [0; SLOT_BYTES];
        match file.read_exact_at(&mut slot, offset(index)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(LogError::unreadable(&path)(error)),
            Ok(()) => Ok(decode(index, &slot)),
        }
    }

    /// One more than the highest index that something was ever kept beside.
    pub(crate) fn end(&self) -> Result<u64, LogError> {
        let Some(range) = self.ranges()?.into_iter().max() else {
            return Ok(0);
        };
        let path = self.path(range);
        let length = fs::metadata(&path).map_err(LogError::unreadable(&path))?;
        Ok(range * RANGE + length.len() / SLOT_BYTES as u64)
    }

    /// Removes the files that lie wholly below an index.
    pub(crate) fn prune(&self, below: u64) -> Result<(), LogError> {
        let limit = below / RANGE;
        for range in self.ranges()?.into_iter().filter(|range| *range < limit) {
            let path = self.path(range);
            files::remove(&path).map_err(LogError::refused(&path))?;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.take_if(|(range, _)| *range < limit);
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<u64>, LogError> {
        let unreadable = |error| LogError::unreadable(&self.folder)(error);
        let mut ranges = Vec::new();
        for name in fs::read_dir(&self.folder).map_err(unreadable)? {
            let name = name.map_err(unreadable)?.file_name();
            ranges.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        Ok(ranges)
    }

    fn path(&self, range: u64) -> PathBuf {
        self.folder.join(range.to_string())
    }

    fn file(&self, range: u64, open: impl FnOnce() -> io::Result<File>) -> io::Result<Arc<File>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = last.as_ref().filter(|(held, _)| *held == range) {
            return Ok(file.clone());
        }
        let file = Arc::new(open()?);
        *last = Some((range, file.clone()));
        Ok(file)
    }
}

fn offset(index: u64) -> u64 {
    index % RANGE * SLOT_BYTES as u64
}

fn encode(index: u64, value: &[u8]) -> Option<[u8; SLOT_BYTES]> {
    let mut slot = [0; SLOT_BYTES];
    slot[0] = u8::try_from(value.len()).ok()?;
    slot[1..=MAX_ATTACHMENT_BYTES]
        .get_mut(..value.len())?
        .copy_from_slice(value);
    let sum = checksum(index, &slot[..CHECKED_BYTES]);
    slot[CHECKED_BYTES..].copy_from_slice(&sum.to_be_bytes());
    Some(slot)
}

fn decode(index: u64, slot: &[u8; SLOT_BYTES]) -> Option<Vec<u8>> {
    let (checked, sum) = slot.split_at(CHECKED_BYTES);
    if checksum(index, checked).to_be_bytes() != sum {
        return None;
    }
    let (length, value) = checked[..=MAX_ATTACHMENT_BYTES].split_first()?;
    value.get(..usize::from(*length)).map(<[u8]>::to_vec)
}

fn checksum(index: u64, checked: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&index.to_be_bytes());
    hasher.update(checked);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn value_comes_back_whole_or_not_at_all(
            index: u64,
            value in proptest::collection::vec(any::<u8>(), 0..=MAX_ATTACHMENT_BYTES),
            flip in 0..SLOT_BYTES
        ) {
            let mut slot = encode(index, &value).unwrap();
            prop_assert_eq!(decode(index, &slot), Some(value));
            prop_assert_eq!(decode(index ^ 1, &slot), None);
            slot[flip] ^= 0x10;
            prop_assert_eq!(decode(index, &slot), None);
        }
    }

    #[test]
    fn too_long_or_unwritten_is_nothing() {
        assert_eq!(encode(0, &[0; MAX_ATTACHMENT_BYTES + 1]), None);
        assert_eq!(decode(0, &[0; SLOT_BYTES]), None);
    }

    #[test]
    fn slots_are_found_again_across_files() {
        let folder = tempfile::tempdir().unwrap();
        let attachments = Attachments::open(folder.path()).unwrap();
        assert_eq!(attachments.end().unwrap(), 0);
        for index in [0, 7, RANGE - 1, RANGE, 3 * RANGE + 5] {
            attachments.write(index, &index.to_be_bytes()).unwrap();
        }
        for index in [0, 7, RANGE - 1, RANGE, 3 * RANGE + 5] {
            let value = attachments.read(index).unwrap();
            assert_eq!(value.as_deref(), Some(&index.to_be_bytes()[..]));
        }
        assert_eq!(attachments.read(6).unwrap(), None);
        assert_eq!(attachments.read(2 * RANGE).unwrap(), None);
        assert_eq!(attachments.end().unwrap(), 3 * RANGE + 6);
        attachments.prune(2 * RANGE).unwrap();
        assert_eq!(attachments.read(7).unwrap(), None);
        assert_eq!(attachments.end().unwrap(), 3 * RANGE + 6);
    }
}
