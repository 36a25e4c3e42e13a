//! The executable of a calling process: a path, and the file behind it.
//!
//! The kernel tells a path from the point of view of the process. Another mount namespace can show
//! any file under any path, so the path alone says nothing: the *file* must be the one that is at
//! that path here. Where it is not, only a process that was [seen](Programs) while it was keeps its
//! path: its executable was replaced by an upgrade, and it still runs the old one. A process that
//! is first seen after that has none, and must be started anew.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use countersign_model::selector::DELETED;
use countersign_model::{Selector, SelectorError};
use rustix::fs::{Mode, OFlags};

use super::selectors::Process;

/// Most processes that are remembered with their executable; one more forgets the oldest, which
/// then keeps its open streams and no more. A path is at most 1 kB, so 1 MB in all.
pub const MAX_PROGRAMS: usize = 1_024;

/// Why an executable is not what a selector speaks of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotHere {
    /// The link is not an absolute path that a selector can say.
    #[error("the executable's path is no selector: {0}")]
    Unusable(#[from] SelectorError),
    /// There is no such file here.
    #[error("there is no {path:?} here: {source}. {REPLACED}")]
    Missing {
        /// What the process calls it.
        path: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
    /// There is another file.
    #[error("the process does not run the file that is at {path:?} here. {REPLACED}")]
    Other {
        /// What the process calls its own.
        path: PathBuf,
    },
}

const REPLACED: &str = "Its executable was replaced before the process was first seen, or belongs \
     to another mount namespace: start the program anew, or register it without unix:path";

/// One executable file under the path that its process knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: String,
    file: FileId,
}

/// One file. Inode numbers are used again; a number with its time of birth is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Program {
    /// What a process runs, by one look: path and file belong together, whatever it execs.
    ///
    /// # Errors
    /// `/proc` does not tell; inside, a path that no selector can say.
    pub(super) fn of(pid: u32) -> io::Result<Result<Self, NotHere>> {
        let link = format!("/proc/{pid}/exe");
        let file = rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let file = FileId::of(&File::from(file).metadata()?);
        Ok(selectable(&path).map(|path| Self { path, file }))
    }

    /// The selector that it satisfies.
    pub(super) fn selector(&self) -> Selector {
        Selector::UnixPath(self.path.clone())
    }

    /// Whether it is the file that is at its path in our own mount namespace.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn is_here(&self) -> Result<(), NotHere> {
        let path = PathBuf::from(&self.path);
        match fs::metadata(&path) {
            Ok(here) if FileId::of(&here) == self.file => Ok(()),
            Ok(_) => Err(NotHere::Other { path }),
            Err(source) => Err(NotHere::Missing { path, source }),
        }
    }
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata.created().ok(),
        }
    }
}

/// The path that a selector says: without the kernel's word on a file that is gone.
fn selectable(link: &Path) -> Result<String, NotHere> {
    let link = link.to_str().ok_or(SelectorError::Shape)?;
    let path = link.strip_suffix(DELETED).unwrap_or(link);
    match format!("unix:path:{path}").parse()? {
        Selector::UnixPath(path) => Ok(path),
        _ => Err(SelectorError::Shape.into()),
    }
}

/// Which processes were seen with which executable while that was the file at its path here, and
/// were given something for it. Oldest first, at most [`MAX_PROGRAMS`].
#[derive(Debug, Default)]
pub struct Programs(Mutex<VecDeque<(Process, Program)>>);

impl Programs {
    /// Whether this process was seen so.
    pub(super) fn contain(&self, process: Process, program: &Program) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .any(|(p, seen)| *p == process && seen == program)
    }

    /// Remembers a process for its later connections.
    pub(super) fn remember(&self, process: Process, program: &Program) {
        if self.contain(process, program) {
            return;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_PROGRAMS {
            seen.pop_front();
        }
        seen.push_back((process, program.clone()));
    }
}

#[cfg(test)]
mod tests;
