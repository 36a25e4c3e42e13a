//! The files behind the journal, as the writer sees them: the seam where tests inject faults.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files;

/// The segment that is written, and how to begin the next.
pub(crate) trait JournalStore: Send + 'static {
    /// Makes the segment that begins with an index, empty, and goes on with it. Its name is not
    /// durable before [`JournalStore::sync_folder`].
    fn begin(&mut self, first: u64) -> io::Result<Arc<File>>;
    /// Makes the names of the segments durable.
    fn sync_folder(&mut self) -> io::Result<()>;
    /// Writes into the segment.
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Takes back what was written beyond a length.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// Segments in a folder.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    segment: Option<Arc<File>>,
}

impl Disk {
    /// Goes on with `segment`, where there is one.
    pub(crate) fn new(folder: &Path, segment: Option<Arc<File>>) -> Self {
        Self {
            folder: folder.to_owned(),
            segment,
        }
    }

    fn segment(&self) -> io::Result<&File> {
        self.segment
            .as_deref()
            .ok_or_else(|| io::Error::other("no segment was begun"))
    }
}

impl JournalStore for Disk {
    fn begin(&mut self, first: u64) -> io::Result<Arc<File>> {
        let file = Arc::new(files::create(&self.folder.join(first.to_string()))?);
        self.segment = Some(file.clone());
        Ok(file)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        files::sync_dir(&self.folder)
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.segment()?.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.segment()?.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.segment()?.sync_data()
    }
}
