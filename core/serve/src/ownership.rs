//! Whose a path is: who else could put another file in its place.
//!
//! A file is as safe as every directory above it. Root and our own user may own and write them;
//! anybody else who can, can also exchange what we keep there. A directory like `/tmp`, which
//! everybody may write and whose sticky bit keeps the entries of others, is no such risk for what
//! is ours already.

mod directory;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{OFlags, StatVfsMountFlags, statvfs};

pub use directory::{DirectoryError, make_ours};

/// Symbolic links that are followed in one path, as many as the kernel follows.
const MAX_LINKS: usize = 40;
const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Somebody else can exchange what is at a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotOurs {
    /// A part of the path belongs to another user.
    #[error("{} belongs to uid {uid}, who can replace what is in it", .path.display())]
    Owner {
        /// The part.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Others may write in a part of the path.
    #[error("other users can write in {}, and so replace what is in it", .path.display())]
    Writable {
        /// The part.
        path: PathBuf,
    },
    /// A part cannot be looked at.
    #[error("cannot look at {}: {source}", .path.display())]
    Unreadable {
        /// The part.
        path: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
}

impl NotOurs {
    /// What to do about it, for the setting that names the path.
    pub fn remedy(&self, setting: &str) -> String {
        match self {
            Self::Owner { path, .. } => format!(
                "give {} to root or to the user of this process (chown), or choose another {setting}",
                path.display()
            ),
            Self::Writable { path } => format!(
                "look at what is in {0}, then chmod go-w {0}, or choose another {setting}",
                path.display()
            ),
            Self::Unreadable { .. } => format!("check {setting}"),
        }
    }
}

/// Nobody but root and our own user can exchange a directory, or one above it. What is not there
/// yet is ours when we make it. The directory itself may be open to others while it is empty.
///
/// # Errors
/// Who can, and where.
fn require_ours(directory: &Path) -> Result<(), NotOurs> {
    let rules = Rules::of_process();
    let Some(found) = rules.walk(directory)? else {
        return Ok(());
    };
    let is_empty = || fs::read_dir(&found.path).is_ok_and(|mut entries| entries.next().is_none());
    if rules.lets_others_write(&found) && !is_empty() {
        return Err(NotOurs::Writable { path: found.path });
    }
    Ok(())
}

/// Nobody but root, our own user and `user` can exchange what is at `path`, and `user` only where
/// root or our own user gave it a directory: what it made itself in `/tmp` is not given to it.
///
/// # Errors
/// Who can, and where.
pub fn require_given_to(user: u32, path: &Path) -> Result<(), NotOurs> {
    let rules = Rules {
        trusted: Some(user),
        ..Rules::of_process()
    };
    rules.walk(path).map(drop)
}

/// Opens a regular file that nobody but root and our own user can write or exchange. Where the
/// file system is mounted read-only nobody can: so a ConfigMap of Kubernetes comes, as links of
/// root in a directory of mode 0777.
///
/// # Errors
/// Who can, and where; or there is no such file.
pub fn open_ours(path: &Path) -> Result<File, NotOurs> {
    let rules = Rules {
        trusts_read_only: true,
        ..Rules::of_process()
    };
    let found = rules.walk(path)?;
    let PathPart { path, .. } =
        found.ok_or_else(|| unreadable(path)(io::ErrorKind::NotFound.into()))?;
    // A FIFO in its place would hold us up.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(open_flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
        .open(&path)
        .and_then(|file| Ok((file.metadata()?, file)));
    let (it, file) = opened.map_err(unreadable(&path))?;
    if !it.is_file() {
        return Err(unreadable(&path)(io::Error::other("it is no regular file")));
    }
    // What was opened counts, whatever was there before.
    let part = PathPart { path, it };
    rules.judge_owner(&part)?;
    match rules.lets_others_write(&part) {
        true => Err(NotOurs::Writable { path: part.path }),
        false => Ok(file),
    }
}

fn open_flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("open flags fit")
}

/// Who may own and write what, for one process.
struct Rules {
    own: u32,
    own_group: u32,
    /// A user besides root and our own.
    trusted: Option<u32>,
    /// Whether modes count for nothing where nothing can be written.
    trusts_read_only: bool,
}

impl Rules {
    fn of_process() -> Self {
        Self {
            own: rustix::process::geteuid().as_raw(),
            own_group: rustix::process::getegid().as_raw(),
            trusted: None,
            trusts_read_only: false,
        }
    }

    /// Judges each part of a path, and of the links in it. What is at the end; `None` where the
    /// path goes on beyond what there is.
    fn walk(&self, path: &Path) -> Result<Option<PathPart>, NotOurs> {
        let mut ahead = parts(&std::path::absolute(path).map_err(unreadable(path))?);
        let mut here = PathPart::root()?;
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            let Some(next) = here.next(&part)? else {
                self.judge(&here, self.own)?;
                return Ok(None);
            };
            self.judge_owner(&next)?;
            self.judge(&here, next.it.uid())?;
            if !next.it.is_symlink() {
                here = next;
                continue;
            }
            links += 1;
            let target = next.link(links)?;
            if target.is_absolute() {
                here = PathPart::root()?;
            }
            let parts = parts(&target).into_iter().rev();
            parts.for_each(|part| ahead.push_front(part));
        }
        Ok(Some(here))
    }

    fn judge_owner(&self, part: &PathPart) -> Result<(), NotOurs> {
        let uid = part.it.uid();
        if self.is_ours(uid) || self.trusted == Some(uid) {
            return Ok(());
        }
        let path = part.path.clone();
        Err(NotOurs::Owner { path, uid })
    }

    /// Whether a directory keeps an entry of this owner from others.
    fn judge(&self, directory: &PathPart, owner: u32) -> Result<(), NotOurs> {
        let is_kept = directory.it.mode() & STICKY != 0 && self.is_ours(owner);
        if is_kept || !self.lets_others_write(directory) {
            return Ok(());
        }
        let path = directory.path.clone();
        Err(NotOurs::Writable { path })
    }

    fn is_ours(&self, uid: u32) -> bool {
        uid == ROOT || uid == self.own
    }

    /// The group of root, and our own, are no others: many systems give each user a group.
    fn lets_others_write(&self, part: &PathPart) -> bool {
        let (mode, group) = (part.it.mode(), part.it.gid());
        let is_our_group = group == ROOT || group == self.own_group;
        let is_open = mode & OTHERS_WRITE != 0 || (mode & GROUP_WRITES != 0 && !is_our_group);
        is_open && !(self.trusts_read_only && is_read_only(&part.path))
    }
}

/// One part of a path, itself and not what it links to.
struct PathPart {
    path: PathBuf,
    it: Metadata,
}

impl PathPart {
    /// The root directory is what it is: whoever owns it owns everything.
    fn root() -> Result<Self, NotOurs> {
        let path = PathBuf::from("/");
        let it = fs::symlink_metadata(&path).map_err(unreadable(&path))?;
        Ok(Self { path, it })
    }

    /// What `part` is here, if it is there.
    fn next(&self, part: &OsStr) -> Result<Option<Self>, NotOurs> {
        let path = match part.as_encoded_bytes() {
            b".." => self.path.parent().unwrap_or(&self.path).to_owned(),
            _ => self.path.join(part),
        };
        match fs::symlink_metadata(&path) {
            Ok(it) => Ok(Some(Self { path, it })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path)(error)),
        }
    }

    /// Where a link goes, if it is not one too many.
    fn link(&self, followed: usize) -> Result<PathBuf, NotOurs> {
        if followed > MAX_LINKS {
            let looped = io::Error::other("too many symbolic links");
            return Err(unreadable(&self.path)(looped));
        }
        fs::read_link(&self.path).map_err(unreadable(&self.path))
    }
}

/// Whether the file system is mounted read-only here.
fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let name = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> NotOurs {
    let path = path.to_owned();
    move |source| NotOurs::Unreadable { path, source }
}

#[cfg(test)]
mod tests;
