//! `countersign backup`: everything that a lost control plane is restored from, in one file.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::backup_piece::Piece;
use countersign_proto::admin::{BackupPiece, BackupRequest, BackupSummary};
use serde::Serialize;
use tonic::Streaming;

use crate::client::{Client, failure};
use crate::output::Output;

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    countersign backup --out countersign.tar\n  \
    countersign backup --out countersign.tar --without-keys --json\n\n\
    The file holds the CA keys that are on disk: who has it is the certificate authority.\n\
    With --without-keys they have to be kept elsewhere, and put back after a restore.";

/// Nobody but the owner.
const FILE_MODE: u32 = 0o600;

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where it goes; a file that is there is replaced once the new one is whole
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Leave the CA keys out
    #[arg(long)]
    without_keys: bool,
}

#[derive(Serialize)]
struct Made {
    file: PathBuf,
    bytes: u64,
    files: u64,
    trust_domain: String,
    epoch: u64,
    log_id: String,
    log_size: u64,
    with_keys: bool,
}

impl Backup {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let draft = self.draft();
        // Before anything is asked for: a backup may take long.
        replaceable(&self.out)?;
        replaceable(&draft)?;
        let mut admin = client.connect().await?;
        let asked = BackupRequest {
            without_keys: self.without_keys,
        };
        let pieces = admin.backup(asked).await.map_err(failure)?.into_inner();
        let received = receive(pieces, &draft).await;
        let placed = received.and_then(|received| {
            replaceable(&self.out)?;
            place(&draft, &self.out).map_err(|error| unwritten(&self.out, &error))?;
            Ok(received)
        });
        if placed.is_err() {
            // That half a backup cannot be removed is the lesser error.
            let _ = std::fs::remove_file(&draft);
        }
        let (summary, bytes) = placed?;
        output.show(&self.made(summary, bytes), Made::text)?;
        Ok(Exit::Yes)
    }

    fn draft(&self) -> PathBuf {
        let mut name = self.out.clone().into_os_string();
        name.push(".new");
        name.into()
    }

    fn made(self, summary: BackupSummary, bytes: u64) -> Made {
        Made {
            file: self.out,
            bytes,
            files: summary.files,
            trust_domain: summary.trust_domain,
            epoch: summary.epoch,
            log_id: format!("{:06x}", summary.log_id),
            log_size: summary.log_size,
            with_keys: summary.with_keys,
        }
    }
}

impl Made {
    fn text(&self) -> String {
        let keys = if self.with_keys {
            "with the CA keys on disk: keep it as secret as they are"
        } else {
            "without keys"
        };
        format!(
            "{}: {} bytes, {} log entries, {keys}",
            self.file.display(),
            self.bytes,
            self.log_size
        )
    }
}

/// Refuses a path that something else than a regular file has: it would be gone, and root may
/// replace a device. A symbolic link is neither followed nor replaced, wherever it leads.
fn replaceable(path: &Path) -> Result<(), Failure> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(Failure::new(
            Exit::Usage,
            "backup_not_a_file",
            format!(
                "{} is {}, which a backup does not replace",
                path.display(),
                kind(found.file_type())
            ),
            "choose a path that is free or has a regular file; of a link, the path it leads to",
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritten(path, &error)),
        _ => Ok(()),
    }
}

fn kind(found: FileType) -> &'static str {
    if found.is_dir() {
        "a folder"
    } else if found.is_symlink() {
        "a symbolic link"
    } else if found.is_fifo() {
        "a named pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Writes the pieces; a stream that ends without a summary is no backup.
async fn receive(
    mut pieces: Streaming<BackupPiece>,
    draft: &Path,
) -> Result<(BackupSummary, u64), Failure> {
    let unwritten = |error: &io::Error| unwritten(draft, error);
    match std::fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritten(&error)),
        _ => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(draft);
    let mut file = file.map_err(|error| unwritten(&error))?;
    let mut bytes = 0;
    loop {
        let piece = pieces.message().await.map_err(failure)?;
        match piece.and_then(|piece| piece.piece) {
            Some(Piece::Data(data)) => {
                file.write_all(&data).map_err(|error| unwritten(&error))?;
                bytes += data.len() as u64;
            }
            Some(Piece::Summary(summary)) => {
                file.sync_all().map_err(|error| unwritten(&error))?;
                return Ok((summary, bytes));
            }
            None => {
                return Err(Failure::new(
                    Exit::Unreachable,
                    "backup_cut_off",
                    "the control plane ended in the middle of the backup",
                    "try again; see the log of the control plane",
                ));
            }
        }
    }
}

fn place(draft: &Path, out: &Path) -> io::Result<()> {
    std::fs::rename(draft, out)?;
    let folder = match out.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Ok(()),
    };
    File::open(folder)?.sync_all()
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        "backup_not_written",
        format!("{} cannot be written: {error}", path.display()),
        "choose another --out, or free space there",
    )
}
