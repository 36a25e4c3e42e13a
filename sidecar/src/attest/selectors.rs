//! Selectors of the process at the other end of a Unix connection.
//!
//! Uid and gid are the kernel's own record of who called `connect` (`SO_PEERCRED`). They hold for
//! as long as the connection does, whoever uses it later. An id that can be anybody's is none.
//!
//! The executable is weaker. Pid and start time survive `exec`, and a socket survives `fork`: a
//! process can connect, hand the socket to a child and become a trusted program itself. So
//! `unix:path` tells programs of *one* uid apart that do not work against each other; it does not
//! separate hostile processes of one uid, who could trace or preload each other anyway. Nor does
//! it speak of a file's content.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use countersign_model::{Claimed, Selector};
use countersign_serve::unix::UnixPeer;

use super::ids;
use super::program::{NoAnswer, NotHere, Program, named};

/// The start time is field 22 of `/proc/<pid>/stat`; after the command name, that is the 20th.
const START_TIME_AFTER_NAME: usize = 19;

/// One life of a pid: a pid that is used again has another start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// The process id.
    pub(crate) pid: u32,
    /// Clock ticks from boot to its start.
    pub(crate) started: u64,
}

impl Process {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// There is none, or `/proc` does not tell.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let started = start_time(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, started })
    }
}

/// Why a caller has no `unix:path`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NoPath {
    /// The kernel names no process, or it was gone when the connection came.
    #[error("the process is not known")]
    NoProcess,
    /// The pid, or the uid behind it, changed since the connection was opened.
    #[error("the process is no longer the one that connected")]
    Changed,
    /// Not the file that a selector would speak of.
    #[error(transparent)]
    NotHere(#[from] NotHere),
    /// The file system of the executable does not answer.
    #[error(transparent)]
    Unanswered(#[from] NoAnswer),
    /// `/proc` does not tell; another uid's executable is readable with CAP_SYS_PTRACE alone.
    #[error("the executable cannot be read: {0}; that of another user takes CAP_SYS_PTRACE")]
    Unreadable(#[from] io::Error),
}

/// The user and group of a caller.
#[derive(Debug)]
pub(crate) struct Ids {
    /// As selectors.
    pub(crate) claimed: Claimed,
    /// Those that can be anybody's, and so satisfy nothing.
    pub(crate) ambiguous: Vec<Selector>,
}

impl Ids {
    /// The ids that the kernel recorded.
    pub(crate) fn of(peer: &UnixPeer) -> Self {
        let told = [Selector::UnixUid(peer.uid), Selector::UnixGid(peer.gid)];
        let (ambiguous, own) = told.into_iter().partition(ids::is_ambiguous);
        Self {
            claimed: Vec::into_iter(own).collect(),
            ambiguous,
        }
    }
}

/// The process of a caller and the one of `paths` at which it says that its executable is. Where it
/// is elsewhere its place is looked at no further: that is the caller's choice.
///
/// # Errors
/// Why nothing is known of it.
pub(crate) fn claimed_path(
    process: Option<Process>,
    paths: &BTreeSet<&str>,
) -> Result<Option<(Process, String)>, NoPath> {
    if paths.is_empty() {
        return Ok(None);
    }
    let process = process.ok_or(NoPath::NoProcess)?;
    let path = named(process.pid, paths)??;
    Ok(path.map(|path| (process, path)))
}

/// The executable of a caller, if it is at `path`. `was_seen` says whether this very process was seen
/// with an executable while that was the file under its path. It may wait for the file system.
///
/// # Errors
/// Why there is none.
pub(crate) fn program(
    peer: &UnixPeer,
    process: Process,
    path: &str,
    was_seen: impl Fn(Process, &Program) -> bool,
) -> Result<Option<Program>, NoPath> {
    let program = executable(process, peer.uid, path)?;
    if let Some(program) = &program
        && !was_seen(process, program)
    {
        program.is_here()?;
    }
    Ok(program)
}

/// The executable of a process. It counts only if the pid had the same start time and uid before
/// and after it was read: else it could be that of another process.
fn executable(process: Process, uid: u32, path: &str) -> Result<Option<Program>, NoPath> {
    let unchanged = || Ok::<_, io::Error>(Process::of(process.pid)? == process);
    let same_uid = || Ok::<_, io::Error>(effective_uid(process.pid)? == uid);
    if !(unchanged()? && same_uid()?) {
        return Err(NoPath::Changed);
    }
    let program = Program::of(process.pid, path)?;
    if !(same_uid()? && unchanged()?) {
        return Err(NoPath::Changed);
    }
    Ok(program?)
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
    use super::*;

    fn own_peer() -> UnixPeer {
        UnixPeer {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            pid: Some(std::process::id()),
        }
    }

    /// Our own executable, if a registration names it.
    fn own_program(peer: &UnixPeer, process: Option<Process>) -> Result<Option<Program>, NoPath> {
        let own = std::env::current_exe().unwrap();
        let paths = [own.to_str().unwrap()].into();
        match claimed_path(process, &paths)? {
            Some((process, path)) => program(peer, process, &path, |_, _| false),
            None => Ok(None),
        }
    }

    #[test]
    fn own_attributes_are_seen() {
        let peer = own_peer();
        let process = Process::of(std::process::id()).unwrap();
        let own = std::env::current_exe().unwrap();
        let path = Selector::UnixPath(own.to_str().unwrap().to_owned());
        let program = own_program(&peer, Some(process)).unwrap().unwrap();
        assert_eq!(program.selector(), path);
        let ids = Ids::of(&peer);
        assert!(
            ids.claimed
                .iter()
                .any(|s| *s == Selector::UnixUid(peer.uid))
        );
    }

    #[test]
    fn another_life_of_a_pid_has_no_path() {
        let mut process = Process::of(std::process::id()).unwrap();
        process.started += 1;
        let seen = own_program(&own_peer(), Some(process));
        assert!(matches!(seen, Err(NoPath::Changed)));
    }

    #[test]
    fn another_uid_behind_the_pid_has_no_path() {
        let mut peer = own_peer();
        peer.uid += 1;
        let process = Process::of(std::process::id()).ok();
        let seen = own_program(&peer, process);
        assert!(matches!(seen, Err(NoPath::Changed)));
    }

    #[test]
    fn a_vanished_process_has_no_path() {
        let seen = own_program(&own_peer(), None);
        assert!(matches!(seen, Err(NoPath::NoProcess)));
        assert_eq!(Ids::of(&own_peer()).claimed.iter().count(), 2);
    }

    #[test]
    fn nothing_is_asked_of_a_process_where_no_path_counts() {
        let seen = claimed_path(None, &BTreeSet::new());
        assert_eq!(seen.unwrap(), None);
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
