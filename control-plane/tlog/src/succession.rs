//! A copy of a log goes on as another log: the same entries so far, another name and key.
//!
//! The log that was copied may have grown after the copy was made. What is appended to the copy
//! must not pass for the entries at those indexes, so it has a name of its own, and the two are
//! never mistaken for a fork of one log. A checkpoint of the old one that is not larger than the
//! copy can still be proved consistent with the new one.

use std::fs;
use std::io;
use std::path::Path;

use crate::key::NoteKey;
use crate::note::{Checkpoint, MAX_NOTE_BYTES};
use crate::publish::{CHECKPOINT, KEPT, VERIFIER_KEY, load};
use crate::{LogError, Options, files};

/// Gives the log in `options.dir` the name and the key of `options`, before it is opened. What the
/// old key signed is moved to `kept`, for those who knew the old log.
///
/// The caller vouches for the copy: the old signature is not checked, its tiles are.
///
/// # Errors
/// The disk, or damage.
pub fn take_over(options: &Options, kept: &Path) -> Result<(), LogError> {
    let folder = options.dir.as_path();
    let path = folder.join(CHECKPOINT);
    let note = files::read(&path, MAX_NOTE_BYTES).map_err(LogError::unreadable(&path))?;
    let key = NoteKey::open(&options.key, &options.origin)?;
    files::make_dir(kept).map_err(LogError::refused(kept))?;
    for name in [KEPT, VERIFIER_KEY] {
        shift(&folder.join(name), &kept.join(name))?;
    }
    let Some(note) = note else {
        return Ok(());
    };
    let old = Checkpoint::unsigned(&note);
    let old = old.ok_or_else(|| LogError::damaged(&path, "is no checkpoint"))?;
    load(folder, &old)?;
    let new = Checkpoint {
        origin: key.name().to_owned(),
        ..old
    };
    let before = kept.join(CHECKPOINT);
    files::write_atomically(&before, &note)?;
    let signed = new.sign(&key);
    files::write_atomically(&path, signed.as_bytes())
}

fn shift(from: &Path, to: &Path) -> Result<(), LogError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LogError::refused(from)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::Log;

    fn options(folder: &Path, name: &str) -> Options {
        Options {
            dir: folder.join("log"),
            key: folder.join(format!("{name}.key")),
            origin: format!("example.org/{name}"),
        }
    }

    async fn append(log: &Log, text: &str) -> u64 {
        let make = |_| Ok::<_, LogError>(text.as_bytes().to_vec());
        log.append(make).await.unwrap().index
    }

    #[tokio::test]
    async fn a_copy_goes_on_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (options(folder.path(), "old"), options(folder.path(), "new"));
        let log = Log::open(&old).unwrap();
        for number in 0..300 {
            append(&log, &number.to_string()).await;
        }
        log.publish(Timestamp::UNIX_EPOCH).unwrap();
        append(&log, "in the journal alone").await;
        drop(log);

        let kept = folder.path().join("kept");
        take_over(&new, &kept).unwrap();
        let log = Log::open(&new).unwrap();
        assert_eq!(append(&log, "restored").await, 301);
        log.publish(Timestamp::UNIX_EPOCH).unwrap();
        let entries: Vec<_> = log.scan(299).map(|entry| entry.unwrap().1).collect();
        assert_eq!(*entries[0], *b"299");
        assert_eq!(*entries[2], *b"restored");
        assert!(log.verifier_key().starts_with("example.org/new+"));
        let before = fs::read_to_string(kept.join(CHECKPOINT)).unwrap();
        assert!(before.starts_with("example.org/old\n300\n"), "{before}");
        assert!(kept.join(KEPT).join("300").exists());
        drop(log);
        assert!(matches!(Log::open(&old), Err(LogError::Foreign(_))));
    }

    #[tokio::test]
    async fn a_copy_whose_tiles_are_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (options(folder.path(), "old"), options(folder.path(), "new"));
        let log = Log::open(&old).unwrap();
        append(&log, "one").await;
        log.publish(Timestamp::UNIX_EPOCH).unwrap();
        drop(log);
        let tile = old.dir.join("tile/0/000.p/1");
        let mut bytes = fs::read(&tile).unwrap();
        bytes[0] ^= 1;
        fs::write(&tile, bytes).unwrap();
        let refused = take_over(&new, &folder.path().join("kept"));
        assert!(matches!(refused, Err(LogError::Damaged(_))), "{refused:?}");
    }
}
