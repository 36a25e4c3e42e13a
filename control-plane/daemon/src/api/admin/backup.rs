//! A backup as a stream of pieces, made while it is sent.
//!
//! A slow reader holds no writer up, but keeps the next backup waiting, and links to files that
//! were pruned: so it has an end.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::BackedUp;
use countersign_proto::admin::backup_piece::Piece;
use countersign_proto::admin::{BackupPiece, BackupSummary};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Operator;
use super::refusing::refused;
use crate::plane::Plane;

/// Bytes of a piece.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait for a slow reader.
const MAX_QUEUED_PIECES: usize = 4;
/// How slow a reader may be.
const PATIENCE: Patience = Patience {
    piece: Duration::from_secs(10),
    backup: Duration::from_secs(3_600),
};

/// How long a reader is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// With one piece.
    piece: Duration,
    /// With all of them.
    backup: Duration,
}

/// The pieces of a backup.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<BackupPiece, Status>> + Send>>;

/// Begins a backup and streams it.
pub(super) fn stream(plane: &Arc<Plane>, operator: Operator, with_keys: bool) -> Pieces {
    let (out, pieces) = mpsc::channel(MAX_QUEUED_PIECES);
    let plane = plane.clone();
    tokio::spawn(async move {
        let writer = Pieced::new(out.clone(), PATIENCE);
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
                Err(refused(&plane, operator, &error))
            }
        };
        // A reader that went away, or reads nothing, has no use for it.
        let _ = out.send_timeout(last, PATIENCE.piece).await;
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
    piece_deadline: Duration,
    end: Instant,
}

impl Pieced {
    fn new(out: mpsc::Sender<Result<BackupPiece, Status>>, patience: Patience) -> Self {
        Self {
            out,
            buffer: Vec::with_capacity(PIECE_BYTES),
            runtime: Handle::current(),
            piece_deadline: patience.piece,
            end: Instant::now() + patience.backup,
        }
    }

    fn send(&mut self) -> io::Result<()> {
        if Instant::now() >= self.end {
            return Err(too_slow("the backup took too long: it is read too slowly"));
        }
        let data = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        let data = Ok(piece(Piece::Data(data)));
        let sending = self.out.send_timeout(data, self.piece_deadline);
        let sent = self.runtime.block_on(sending);
        sent.map_err(|_| too_slow("nobody reads the backup"))
    }
}

fn too_slow(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, problem)
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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// Writes pieces where a reader takes as many as `taken`, and no more.
    async fn written(pieces: usize, taken: usize, patience: Patience) -> io::Result<()> {
        let (out, mut read) = mpsc::channel(MAX_QUEUED_PIECES);
        let mut writer = Pieced::new(out, patience);
        let writing = tokio::task::spawn_blocking(move || {
            let bytes = vec![7; pieces * PIECE_BYTES];
            writer.write_all(&bytes).and_then(|()| writer.flush())
        });
        for _ in 0..taken {
            read.recv().await.expect("a piece").unwrap();
        }
        writing.await.unwrap()
    }

    #[tokio::test]
    async fn a_reader_that_stops_is_cut_off() {
        let patience = Patience {
            piece: Duration::from_millis(20),
            backup: LONG,
        };
        let kept = written(MAX_QUEUED_PIECES, 0, patience).await;
        kept.expect("what waits has a place");
        let cut = written(MAX_QUEUED_PIECES + 3, 2, patience)
            .await
            .unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
        assert_eq!(cut.to_string(), "nobody reads the backup");
    }

    #[tokio::test]
    async fn a_backup_has_an_end_though_it_is_read() {
        let patience = Patience {
            piece: LONG,
            backup: Duration::ZERO,
        };
        let cut = written(1, 0, patience).await.unwrap_err();
        assert!(cut.to_string().contains("too long"), "{cut}");
        let unhurried = Patience {
            piece: LONG,
            backup: LONG,
        };
        written(20, 20, unhurried).await.unwrap();
    }
}
