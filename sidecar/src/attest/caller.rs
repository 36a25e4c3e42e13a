//! One caller of the local socket, and which identities it may be handed right now.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use countersign_model::{Claimed, EntitlementId};
use countersign_serve::unix::UnixPeer;

use super::selectors::{NoPath, Process, selectors};
use crate::holdings::{Held, Snapshot};
use crate::local_api::LocalPeer;

/// At most one warning about unreadable callers in this time.
pub const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A caller. Its selectors are read when its stream opens and again before it is handed anything
/// new, so that a process which has become another loses what the other may not have.
#[derive(Debug)]
pub struct Caller {
    peer: UnixPeer,
    process: Option<Process>,
    admitted: Vec<EntitlementId>,
    rights: u64,
}

impl Caller {
    /// The process behind a connection, judged against a snapshot.
    pub fn attest(local: LocalPeer, snapshot: &Snapshot) -> Self {
        let LocalPeer { peer, process } = local;
        let mut caller = Self {
            peer,
            process,
            admitted: Vec::new(),
            rights: 0,
        };
        caller.attest_again(snapshot);
        caller
    }

    /// Reads the selectors again and judges them against `snapshot`.
    pub fn attest_again(&mut self, snapshot: &Snapshot) {
        let claimed = self.claimed();
        let admitted = snapshot.admitted(&claimed);
        self.admitted = admitted
            .into_iter()
            .map(|held| held.entitlement.id.clone())
            .collect();
        self.rights = snapshot.rights;
    }

    /// Whether the entitlements of this node changed since this caller was last judged.
    pub fn is_outdated(&self, snapshot: &Snapshot) -> bool {
        self.rights != snapshot.rights
    }

    /// What the caller may be handed, the default first.
    pub fn admitted<'a>(&self, snapshot: &'a Snapshot) -> Vec<&'a Held> {
        let held = |id| snapshot.entries.get(id);
        self.admitted.iter().filter_map(held).collect()
    }

    /// Whether the caller may be handed anything at all.
    pub fn has_identity(&self) -> bool {
        !self.admitted.is_empty()
    }

    /// Who it is, for logs and quotas.
    pub fn peer(&self) -> &UnixPeer {
        &self.peer
    }

    /// A name that no other living process has: pid and start time.
    pub fn process_name(&self) -> String {
        match self.process {
            Some(Process { pid, started }) => format!("{pid}:{started}"),
            None => format!("uid-{}:unknown", self.peer.uid),
        }
    }

    fn claimed(&self) -> Claimed {
        let (claimed, missing) = selectors(&self.peer, self.process);
        if let Some(reason) = missing {
            warn_seldom(&self.peer, &reason);
        }
        claimed
    }
}

/// Callers decide how often this is reached, so they must not decide how much is logged.
fn warn_seldom(peer: &UnixPeer, reason: &NoPath) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
        *last = Some(Instant::now());
        tracing::warn!(uid = peer.uid, pid = peer.pid, %reason, "a caller has no unix:path selector");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use countersign_model::{Selector, SelectorSet};

    use super::*;
    use crate::holdings::Holdings;
    use crate::local_api::harness::{entitlement, ours, own_uid, theirs, until};

    fn snapshot(selectors: &[SelectorSet]) -> Arc<Snapshot> {
        let holdings = Holdings::new();
        for (age, selectors) in (1..).zip(selectors) {
            let entitlement = Arc::new(entitlement("/web", selectors.clone(), age));
            let held = Held {
                entitlement: entitlement.clone(),
                svid: None,
                problem: None,
            };
            holdings.publish(|snapshot| {
                Arc::make_mut(&mut snapshot.entries).insert(entitlement.id.clone(), held);
            });
        }
        holdings.load()
    }

    fn peer(pid: u32) -> LocalPeer {
        LocalPeer::now(UnixPeer {
            uid: own_uid(),
            gid: rustix::process::getegid().as_raw(),
            pid: Some(pid),
        })
    }

    fn own_path() -> SelectorSet {
        let own = std::env::current_exe().unwrap();
        let path = Selector::UnixPath(own.to_str().unwrap().to_owned());
        SelectorSet::new([path, Selector::UnixUid(own_uid())]).unwrap()
    }

    #[test]
    fn a_pid_that_is_used_again_keeps_only_the_uid() {
        let snapshot = snapshot(&[own_path()]);
        let now = peer(std::process::id());
        assert!(Caller::attest(now, &snapshot).has_identity());
        // Another process had this pid when the connection was accepted.
        let before = LocalPeer {
            process: now.process.map(|process| Process {
                started: process.started - 1,
                ..process
            }),
            ..now
        };
        assert!(!Caller::attest(before, &snapshot).has_identity());
    }

    #[test]
    fn only_all_selectors_admit() {
        let snapshot = snapshot(&[ours(), theirs()]);
        let caller = Caller::attest(peer(std::process::id()), &snapshot);
        assert_eq!(caller.admitted(&snapshot).len(), 1);
    }

    #[test]
    fn a_caller_that_execs_another_program_loses_its_path() {
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        let path = Selector::UnixPath(shell.to_str().unwrap().to_owned());
        let by_path = SelectorSet::new([path, Selector::UnixUid(own_uid())]).unwrap();
        let snapshot = snapshot(&[by_path]);
        let mut child = Command::new(&shell)
            .args(["-c", "read -r go; exec sleep 60"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut caller = Caller::attest(peer(child.id()), &snapshot);
        let before = caller.has_identity();
        writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
        let link = format!("/proc/{}/exe", child.id());
        let wait = until(|| std::fs::read_link(&link).is_ok_and(|exe| exe != shell));
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(wait);
        caller.attest_again(&snapshot);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(before && !caller.has_identity());
    }

    #[test]
    fn new_credentials_are_no_new_rights() {
        let holdings = Holdings::new();
        let rights = holdings.load().rights;
        holdings.publish(|snapshot| snapshot.bundle = None);
        assert_eq!(holdings.load().rights, rights);
        assert_ne!(snapshot(&[ours()]).rights, rights);
    }
}
