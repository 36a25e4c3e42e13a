//! Selectors of the process at the other end of a Unix connection.
//!
//! Uid and gid are the kernel's own record of who called `connect` (`SO_PEERCRED`). They hold for
//! as long as the connection does, whoever uses it later.
//!
//! The executable is weaker. Pid and start time survive `exec`, and a socket survives `fork`: a
//! process can connect, hand the socket to a child and become a trusted program itself. So
//! `unix:path` tells programs of *one* uid apart that do not work against each other; it does not
//! separate hostile processes of one uid, who could trace or preload each other anyway. Nor does
//! it speak of a file's content, or of the caller's mount namespace.

use std::fs;
use std::io;
use std::path::Path;

use countersign_model::{Claimed, Selector, SelectorError};
use countersign_serve::unix::UnixPeer;

const DELETED: &str = " (deleted)";
/// The start time is field 22 of `/proc/<pid>/stat`; after the command name, that is the 20th.
const START_TIME_AFTER_NAME: usize = 19;

/// One life of a pid: a pid that is used again has another start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// Clock ticks from boot to its start.
    pub started: u64,
}

impl Process {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// There is none, or `/proc` does not tell.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let started = start_time(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, started })
    }
}

/// Why a caller has no `unix:path`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoPath {
    /// The kernel names no process, or it was gone when the connection came.
    #[error("the process is not known")]
    NoProcess,
    /// The pid, or the uid behind it, changed since the connection was opened.
    #[error("the process is no longer the one that connected")]
    Changed,
    /// The executable was replaced or removed on disk.
    #[error("the executable was deleted")]
    Deleted,
    /// The link is not an absolute path that a selector can say.
    #[error("the executable's path is no selector: {0}")]
    Unusable(#[from] SelectorError),
    /// `/proc` does not tell; another uid's executable is readable with CAP_SYS_PTRACE alone.
    #[error("the executable cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// What is known of a caller, and why the executable is not, where it is not.
pub fn selectors(peer: &UnixPeer, process: Option<Process>) -> (Claimed, Option<NoPath>) {
    let always = [Selector::UnixUid(peer.uid), Selector::UnixGid(peer.gid)];
    let path = process
        .ok_or(NoPath::NoProcess)
        .and_then(|process| executable(process, peer.uid));
    match path {
        Ok(path) => (always.into_iter().chain([path]).collect(), None),
        Err(reason) => (always.into_iter().collect(), Some(reason)),
    }
}

/// The executable of a process. It counts only if the pid had the same start time and uid before
/// and after the link was read: else it could be that of another process.
fn executable(process: Process, uid: u32) -> Result<Selector, NoPath> {
    let unchanged = || Ok::<_, io::Error>(Process::of(process.pid)? == process);
    let same_uid = || Ok::<_, io::Error>(effective_uid(process.pid)? == uid);
    if !(unchanged()? && same_uid()?) {
        return Err(NoPath::Changed);
    }
    let link = fs::read_link(format!("/proc/{}/exe", process.pid))?;
    if !(same_uid()? && unchanged()?) {
        return Err(NoPath::Changed);
    }
    path_selector(&link)
}

fn path_selector(link: &Path) -> Result<Selector, NoPath> {
    let path = link.to_str().ok_or(SelectorError::Shape)?;
    if path.ends_with(DELETED) {
        return Err(NoPath::Deleted);
    }
    Ok(format!("unix:path:{path}").parse()?)
}

fn effective_uid(pid: u32) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The start time in `/proc/<pid>/stat`. The command name is in parentheses and may itself contain
/// parentheses, spaces and line feeds. Open to a fuzz target: the process chooses that name.
#[doc(hidden)]
pub fn start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name
        .split_whitespace()
        .nth(START_TIME_AFTER_NAME)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn own_peer() -> UnixPeer {
        UnixPeer {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            pid: Some(std::process::id()),
        }
    }

    #[test]
    fn own_attributes_are_seen() {
        let peer = own_peer();
        let process = Process::of(std::process::id()).unwrap();
        let (claimed, missing) = selectors(&peer, Some(process));
        let own = std::env::current_exe().unwrap();
        let path = Selector::UnixPath(own.to_str().unwrap().to_owned());
        assert!(missing.is_none());
        assert!(claimed.iter().any(|s| *s == path));
        assert!(claimed.iter().any(|s| *s == Selector::UnixUid(peer.uid)));
    }

    #[test]
    fn another_life_of_a_pid_has_no_path() {
        let mut process = Process::of(std::process::id()).unwrap();
        process.started += 1;
        let (claimed, missing) = selectors(&own_peer(), Some(process));
        assert!(matches!(missing, Some(NoPath::Changed)));
        assert_eq!(claimed.iter().count(), 2);
    }

    #[test]
    fn another_uid_behind_the_pid_has_no_path() {
        let mut peer = own_peer();
        peer.uid += 1;
        let process = Process::of(std::process::id()).ok();
        let (_, missing) = selectors(&peer, process);
        assert!(matches!(missing, Some(NoPath::Changed)));
    }

    #[test]
    fn a_deleted_executable_has_no_path() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("sleeper");
        fs::copy("/bin/sleep", &copy).unwrap();
        let mut child = Command::new(&copy)
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        fs::remove_file(&copy).unwrap();
        let process = Process::of(child.id()).ok();
        let (_, missing) = selectors(&own_peer(), process);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(missing, Some(NoPath::Deleted)), "{missing:?}");
    }

    #[test]
    fn a_vanished_process_leaves_uid_and_gid() {
        let (claimed, missing) = selectors(&own_peer(), None);
        assert!(matches!(missing, Some(NoPath::NoProcess)));
        assert_eq!(claimed.iter().count(), 2);
    }

    #[test]
    fn hostile_links_are_no_selectors() {
        for link in ["relative", "", "/bin/a\nb", "/bin/a (deleted)"] {
            assert!(path_selector(Path::new(link)).is_err(), "{link:?}");
        }
        assert!(path_selector(Path::new("/usr/bin/a b:c")).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_command_name_changes_the_start_time(name in ".{0,32}", started in 0_u64..) {
            let fields = "0 ".repeat(START_TIME_AFTER_NAME);
            let stat = format!("7 ({name}) {fields}{started} 23 24");
            proptest::prop_assert_eq!(start_time(&stat), Some(started));
        }
    }

    #[test]
    fn a_command_name_cannot_forge_the_start_time() {
        let fields = (3..=22)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let stat = format!("7 (evil) 1 2 3) {fields} 23 24");
        assert_eq!(start_time(&stat), Some(22));
        assert_eq!(start_time("7 (x) 1 2"), None);
        assert_eq!(start_time(""), None);
    }
}
