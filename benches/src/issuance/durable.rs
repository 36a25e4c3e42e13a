//! One durable write: bytes at the end of a file and an fsync, on a thread of its own, since a disk
//! that hangs must hang nothing else. No control plane that logs before it signs does with less.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc;

use anyhow::{Context, Result};
use tempfile::{TempDir, tempdir};
use tokio::sync::oneshot;

/// Bytes of an entry of the issuance log.
const ENTRY_BYTES: usize = 600;

type Done = oneshot::Sender<io::Result<()>>;

/// A file and the thread that writes it.
#[derive(Debug)]
pub struct Durable {
    writes: mpsc::Sender<Done>,
    _folder: TempDir,
}

impl Durable {
    /// With a file where the control plane that is measured has its log.
    ///
    /// # Errors
    /// There can be none.
    pub fn start() -> Result<Self> {
        let folder = tempdir()?;
        let mut file = File::create(folder.path().join("entries"))?;
        let (writes, asked) = mpsc::channel::<Done>();
        std::thread::spawn(move || {
            for done in asked {
                let written = file.write_all(&[0; ENTRY_BYTES]);
                // Who asked may have gone.
                let _ = done.send(written.and_then(|()| file.sync_data()));
            }
        });
        Ok(Self {
            writes,
            _folder: folder,
        })
    }

    /// Writes an entry and waits until it is durable.
    ///
    /// # Errors
    /// It was not written.
    pub async fn write(&self) -> Result<()> {
        let (done, written) = oneshot::channel();
        self.writes.send(done).context("the writer ended")?;
        Ok(written.await??)
    }
}
