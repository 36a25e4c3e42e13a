//! `countersign backup`: everything that a lost control plane is restored from, in one file.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_backup::begins_as_backup;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::backup_piece::Piece;
use countersign_proto::admin::{BackupPiece, BackupRequest, BackupSummary};
use serde::Serialize;
use tonic::Streaming;

use crate::client::{Client, failure};
use crate::destination::{self, Destination};
use crate::output::Output;

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    countersign backup --out countersign.tar\n  \
    countersign backup --out countersign.tar --without-keys --json\n  \
    countersign backup --out - | gpg --encrypt --recipient ops@example.org > countersign.tar.gpg\n\n\
    The file holds the CA keys that are on disk: who has it is the certificate authority.\n\
    With --without-keys they have to be kept elsewhere, and put back after a restore.";

/// Nobody but the owner.
const FILE_MODE: u32 = 0o600;

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where it goes; a backup that is there is replaced once the new one is whole; - writes to stdout
    #[arg(long, value_name = "FILE")]
    out: Destination,
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
        match destination::file(Some(&self.out)) {
            Some(path) => self.to_file(path, client, output).await?,
            None => self.to_stdout(client, output).await?,
        }
        Ok(Exit::Yes)
    }

    async fn to_file(&self, out: &Path, client: &Client, output: Output) -> Result<(), Failure> {
        let draft = draft_of(out);
        // Before anything is asked for: a backup may take long.
        replaceable(out)?;
        replaceable(&draft)?;
        let pieces = self.ask(client).await?;
        let received = to_draft(pieces, &draft).await;
        let placed = received.and_then(|received| {
            replaceable(out)?;
            place(&draft, out).map_err(|error| unwritten(out, &error))?;
            Ok(received)
        });
        if placed.is_err() {
            // That half a backup cannot be removed is the lesser error.
            let _ = std::fs::remove_file(&draft);
        }
        let (summary, bytes) = placed?;
        output.show(&made(out, summary, bytes), Made::text)
    }

    /// For a program that encrypts it or takes it elsewhere. What was cut off has no manifest, and is not
    /// restored.
    async fn to_stdout(&self, client: &Client, output: Output) -> Result<(), Failure> {
        if output.is_json() {
            return Err(destination::stdout_taken("--out"));
        }
        if io::stdout().is_terminal() {
            return Err(Failure::new(
                Exit::Usage,
                "backup_for_a_terminal",
                "a backup is an archive with secrets, and stdout is a terminal",
                "name a file with --out, or a program that takes the backup: | gpg --encrypt",
            ));
        }
        let mut pieces = self.ask(client).await?;
        let stdout = Path::new("stdout");
        let unwritten = |error: &io::Error| unwritten(stdout, error);
        let received = receive(&mut pieces, &mut io::stdout(), unwritten).await;
        let (summary, bytes) = received?;
        output.progress(made(stdout, summary, bytes).text());
        Ok(())
    }

    async fn ask(&self, client: &Client) -> Result<Streaming<BackupPiece>, Failure> {
        let mut admin = client.connect().await?;
        let asked = BackupRequest {
            without_keys: self.without_keys,
        };
        Ok(admin.backup(asked).await.map_err(failure)?.into_inner())
    }
}

fn draft_of(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn made(file: &Path, summary: BackupSummary, bytes: u64) -> Made {
    Made {
        file: file.to_owned(),
        bytes,
        files: summary.files,
        trust_domain: summary.trust_domain,
        epoch: summary.epoch,
        log_id: format!("{:06x}", summary.log_id),
        log_size: summary.log_size,
        with_keys: summary.with_keys,
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

/// Refuses a path that something else than a backup has: it would be gone, and root may replace a device. A
/// symbolic link is neither followed nor replaced, wherever it leads.
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
        Ok(_) => {
            let head = destination::head(path).map_err(|error| unwritten(path, &error))?;
            if head.is_empty() || begins_as_backup(&head) {
                return Ok(());
            }
            Err(Failure::new(
                Exit::Usage,
                "backup_over_another_file",
                format!("{} is there, and is not a backup", path.display()),
                "choose a path that is free or has a backup",
            ))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritten(path, &error)),
        Err(_) => Ok(()),
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

/// Writes the pieces into a new file.
async fn to_draft(
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
    let received = receive(&mut pieces, &mut file, unwritten).await?;
    file.sync_all().map_err(|error| unwritten(&error))?;
    Ok(received)
}

/// Writes the pieces; a stream that ends without a summary is no backup.
async fn receive(
    pieces: &mut Streaming<BackupPiece>,
    to: &mut impl Write,
    unwritten: impl Fn(&io::Error) -> Failure,
) -> Result<(BackupSummary, u64), Failure> {
    let mut bytes = 0;
    loop {
        let piece = pieces.message().await.map_err(failure)?;
        match piece.and_then(|piece| piece.piece) {
            Some(Piece::Data(data)) => {
                to.write_all(&data).map_err(|error| unwritten(&error))?;
                bytes += data.len() as u64;
            }
            Some(Piece::Summary(summary)) => {
                to.flush().map_err(|error| unwritten(&error))?;
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
