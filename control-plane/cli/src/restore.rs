//! `countersign restore`: a state from a backup, offline.
//!
//! Everything happens in a folder beside the one that is asked for, which takes its name at the
//! very end: a restore that fails leaves nothing that could be started.

use std::fmt::Display;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use countersign_backup::{Manifest, UnpackError, unpack};
use countersign_cli::{Exit, Failure};
use countersign_restore::{TakenOver, take_over};
use countersign_store::DataDir;
use jiff::Timestamp;
use serde::Serialize;

use crate::entropy::OsEntropy;
use crate::output::Output;

pub(crate) const EXAMPLES: &str = "Example:\n  \
    countersign restore --in countersign.tar --data-dir /var/lib/countersign/control-plane\n\n\
    The control plane that the backup is of must not run any more. Sidecars come back by\n\
    themselves. What was registered after the backup is missing, what was removed after it is\n\
    there again; join tokens that were unused are good no more.";

/// Nobody but the owner.
const DIR_MODE: u32 = 0o700;

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    #[arg(long = "in", value_name = "FILE")]
    file: PathBuf,
    /// The data_dir of the control plane to be: missing or empty
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

#[derive(Serialize)]
struct Restored {
    data_dir: PathBuf,
    trust_domain: String,
    made_at: Timestamp,
    epoch: u64,
    log_id: String,
    previous_log_id: String,
    log_size: u64,
    tokens_dropped: usize,
    with_keys: bool,
}

impl Restore {
    pub(crate) async fn run(self, now: Timestamp, output: Output) -> Result<Exit, Failure> {
        let file = File::open(&self.file).map_err(|error| unreadable(&self.file, &error))?;
        vacant(&self.data_dir)?;
        let draft = beside(&self.data_dir);
        let made = DirBuilder::new().mode(DIR_MODE).create(&draft);
        made.map_err(|error| unwritable(&draft, &error))?;
        let restored = restore(&file, &self.file, &draft, now).await;
        let placed = restored.and_then(|restored| {
            place(&draft, &self.data_dir).map_err(|error| unwritable(&self.data_dir, &error))?;
            Ok(restored)
        });
        if placed.is_err() {
            // What cannot be removed has another name than what is started.
            let _ = fs::remove_dir_all(&draft);
        }
        let (manifest, taken_over) = placed?;
        let restored = Restored::new(self.data_dir, manifest, &taken_over);
        output.show(&restored, Restored::text)?;
        Ok(Exit::Yes)
    }
}

impl Restored {
    fn new(data_dir: PathBuf, manifest: Manifest, taken_over: &TakenOver) -> Self {
        Self {
            data_dir,
            trust_domain: manifest.trust_domain,
            made_at: manifest.made_at,
            epoch: taken_over.epoch,
            log_id: format!("{:06x}", taken_over.log_id),
            previous_log_id: format!("{:06x}", manifest.log_id),
            log_size: taken_over.log_size,
            tokens_dropped: taken_over.tokens_dropped,
            with_keys: manifest.with_keys,
        }
    }

    fn text(&self) -> String {
        let dir = self.data_dir.display();
        let mut text = format!(
            "{dir}: the state of {} at {}, epoch {}, log {} with {} entries, {} join tokens dropped",
            self.trust_domain,
            self.made_at,
            self.epoch,
            self.log_id,
            self.log_size,
            self.tokens_dropped
        );
        if !self.with_keys {
            text.push_str(&format!(
                "\nthe backup has no keys: put those of the CA into {dir}/keys before you start"
            ));
        }
        text
    }
}

async fn restore(
    file: &File,
    name: &Path,
    draft: &Path,
    now: Timestamp,
) -> Result<(Manifest, TakenOver), Failure> {
    let manifest =
        unpack(io::BufReader::new(file), draft).map_err(|error| refused(name, &error))?;
    let data_dir = DataDir::open(draft).map_err(|error| unusable(&error))?;
    let taken_over = take_over(&data_dir, Arc::new(OsEntropy), now).await;
    let taken_over = taken_over.map_err(|error| unusable(&error))?;
    // One call for thousands of files.
    File::open(draft)
        .and_then(|folder| Ok(rustix::fs::syncfs(folder)?))
        .map_err(|error| unwritable(draft, &error))?;
    Ok((manifest, taken_over))
}

/// The folder that is worked in.
fn beside(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.components().as_path().as_os_str().to_owned();
    name.push(".restoring");
    name.into()
}

fn vacant(data_dir: &Path) -> Result<(), Failure> {
    let first = match fs::read_dir(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        children => children.map(|mut children| children.next()),
    };
    match first.map_err(|error| unwritable(data_dir, &error))? {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            Exit::Usage,
            "data_dir_not_empty",
            format!("{} is not empty", data_dir.display()),
            "move what is there out of the way: its log may hold what the backup does not",
        )),
    }
}

fn place(draft: &Path, data_dir: &Path) -> io::Result<()> {
    // An empty folder is replaced.
    fs::rename(draft, data_dir)?;
    let folder = data_dir
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn refused(file: &Path, error: &UnpackError) -> Failure {
    let (code, remedy) = match error {
        UnpackError::Io(_) => (
            "backup_unreadable",
            "check the file, and free space beside --data-dir",
        ),
        UnpackError::NotABackup(_) => (
            "not_a_backup",
            "name the file that `countersign backup --out FILE` wrote, with --in",
        ),
        UnpackError::Damaged(_) => ("backup_damaged", "take another backup"),
        UnpackError::Format(_) => ("backup_format", "restore it with the version that made it"),
    };
    let message = format!("{}: {error}", file.display());
    Failure::new(Exit::Usage, code, message, remedy)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("{} cannot be read: {error}", path.display());
    Failure::new(Exit::Usage, "backup_unreadable", message, "check --in")
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("{} cannot be used: {error}", path.display());
    let remedy = "check --data-dir: its folder, its owner and free space; remove what an earlier \
                  restore left behind";
    Failure::new(Exit::Usage, "data_dir_unusable", message, remedy)
}

fn unusable(error: &dyn Display) -> Failure {
    let remedy =
        "take another backup; this one agrees with its manifest, so its source was damaged";
    Failure::new(Exit::Usage, "backup_damaged", error.to_string(), remedy)
}
