//! A backup as a stream of pieces, made while it is sent: nothing of it stays on our disk.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_proto::admin::backup_piece::Piece;
use countersign_proto::admin::{BackupPiece, BackupSummary};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::status;
use crate::authority::BackedUp;
use crate::plane::Plane;

/// Bytes of a piece.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait for a slow reader.
const MAX_QUEUED_PIECES: usize = 4;
/// A reader that takes nothing for so long has no backup: no checkpoint is signed meanwhile.
const READER_DEADLINE: Duration = Duration::from_secs(10);

/// The pieces of a backup.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<BackupPiece, Status>> + Send>>;

/// Begins a backup and streams it.
pub(super) fn stream(plane: &Arc<Plane>, with_keys: bool) -> Pieces {
    let (out, pieces) = mpsc::channel(MAX_QUEUED_PIECES);
    let plane = plane.clone();
    tokio::spawn(async move {
        let writer = Pieced {
            out: out.clone(),
            buffer: Vec::with_capacity(PIECE_BYTES),
            runtime: Handle::current(),
        };
        let now = plane.clock.now();
        let made = plane.authority.back_up(with_keys, writer, now).await;
        let last = match made {
            Ok(backed_up) => {
                let size = backed_up.manifest.log_size;
                tracing::info!(log_size = size, with_keys, "backup made");
                Ok(piece(Piece::Summary(summary(&backed_up))))
            }
            Err(error) => {
                tracing::error!(error = %error, "backup failed");
                Err(status(&error))
            }
        };
        // A reader that went away has no use for it.
        let _ = out.send(last).await;
    });
    Box::pin(ReceiverStream::new(pieces))
}

fn summary(backed_up: &BackedUp) -> BackupSummary {
    let manifest = &backed_up.manifest;
    BackupSummary {
        trust_domain: manifest.trust_domain.clone(),
        epoch: manifest.epoch,
        log_id: manifest.log_id,
        log_size: manifest.log_size,
        files: backed_up.files as u64,
        with_keys: manifest.with_keys,
    }
}

fn piece(piece: Piece) -> BackupPiece {
    BackupPiece { piece: Some(piece) }
}

/// Cuts what is written into pieces and sends them. For a thread that may block.
struct Pieced {
    out: mpsc::Sender<Result<BackupPiece, Status>>,
    buffer: Vec<u8>,
    runtime: Handle,
}

impl Pieced {
    fn send(&mut self) -> io::Result<()> {
        let data = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        let sending = self
            .out
            .send_timeout(Ok(piece(Piece::Data(data))), READER_DEADLINE);
        let sent = self.runtime.block_on(sending);
        sent.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "nobody reads the backup"))
    }
}

impl Write for Pieced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.buffer.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() == PIECE_BYTES {
            self.send()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.send()
    }
}
