//! The executable of a calling process: a path, and the file behind it.
//!
//! The kernel tells a path from the point of view of the process. Another mount namespace can show
//! any file under any path, so the path alone says nothing: the *file* must be the one that is at
//! that path here. Where it is not, only a process that was [seen](Programs) while it was keeps its
//! path: its executable was replaced by an upgrade, and it still runs the old one. A process that
//! is first seen after that has none, and must be started anew.

pub(super) mod lookup;
mod seen;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::{Path, PathBuf};

use countersign_model::selector::DELETED;
use countersign_model::{Selector, SelectorError};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, statx};

pub(crate) use self::lookup::NoAnswer;
pub(crate) use self::seen::Programs;

/// What is known of a file without asking the server or daemon of its file system, which a caller
/// may have chosen: who waits for one waits for ever.
const DONT_ASK: AtFlags = AtFlags::STATX_DONT_SYNC;

/// Why an executable is not what a selector speaks of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NotHere {
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
pub(crate) struct Program {
    path: String,
    file: FileId,
}

/// One file. Inode numbers are used again; a number with its time of birth is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: (u32, u32),
    inode: u64,
    born: Option<(i64, u32)>,
}

impl Program {
    /// What a process runs, if it is at this path. It may wait for the file system of the file.
    ///
    /// # Errors
    /// `/proc` does not tell; inside, a path that no selector can say.
    pub(super) fn of(pid: u32, path: &str) -> io::Result<Result<Option<Self>, NotHere>> {
        let link = format!("/proc/{pid}/exe");
        // By one look: path and file belong together, whatever it execs meanwhile.
        let file = rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let told = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let told = selectable(&told);
        if !told.as_ref().is_ok_and(|told| told == path) {
            return Ok(told.map(|_| None));
        }
        let file = FileId::of(&file, "", AtFlags::EMPTY_PATH)?;
        Ok(told.map(|path| Some(Self { path, file })))
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
        match FileId::of(CWD, &self.path, AtFlags::empty()) {
            Ok(here) if here == self.file => Ok(()),
            Ok(_) => Err(NotHere::Other { path }),
            Err(source) => Err(NotHere::Missing { path, source }),
        }
    }
}

impl FileId {
    fn of(at: impl AsFd, path: &str, flags: AtFlags) -> io::Result<Self> {
        let asked = StatxFlags::INO | StatxFlags::BTIME;
        let it = statx(at, path, flags | DONT_ASK, asked)?;
        let knows_birth = it.stx_mask & StatxFlags::BTIME.bits() != 0;
        Ok(Self {
            device: (it.stx_dev_major, it.stx_dev_minor),
            inode: it.stx_ino,
            born: knows_birth.then_some((it.stx_btime.tv_sec, it.stx_btime.tv_nsec)),
        })
    }
}

/// The one of `paths` at which a process says that its executable is. No file is looked at: the
/// kernel has the path in memory.
///
/// # Errors
/// `/proc` does not tell; inside, a path that no selector can say.
pub(super) fn named(
    pid: u32,
    paths: &BTreeSet<&str>,
) -> io::Result<Result<Option<String>, NotHere>> {
    let link = fs::read_link(format!("/proc/{pid}/exe"))?;
    Ok(selectable(&link).map(|path| Some(path).filter(|path| paths.contains(&**path))))
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

#[cfg(test)]
mod tests;
