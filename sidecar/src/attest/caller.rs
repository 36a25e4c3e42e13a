//! One caller of the local socket, and which identities it may be handed right now.

use std::fmt::Display;
use std::sync::Arc;

use countersign_model::{Claimed, EntitlementId};
use countersign_serve::unix::UnixPeer;
use countersign_telemetry::{Principal, peer_line};

use super::program::{Program, Programs};
use super::selectors::{Process, see};
use crate::holdings::{Held, Snapshot};
use crate::local_api::LocalPeer;

/// A caller. Its selectors are read when its stream opens and again before it is handed anything
/// new, so that a process which has become another loses what the other may not have. One whose
/// executable was replaced on disk is still the same, and keeps what it has.
#[derive(Debug)]
pub struct Caller {
    peer: UnixPeer,
    process: Option<Process>,
    program: Option<Program>,
    programs: Arc<Programs>,
    admitted: Vec<EntitlementId>,
    rights: u64,
}

impl Caller {
    /// The process behind a connection, judged against a snapshot. `programs` are those that were
    /// seen on other connections.
    pub fn attest(local: LocalPeer, snapshot: &Snapshot, programs: &Arc<Programs>) -> Self {
        let LocalPeer { peer, process } = local;
        let mut caller = Self {
            peer,
            process,
            program: None,
            programs: Arc::clone(programs),
            admitted: Vec::new(),
            rights: 0,
        };
        caller.attest_again(snapshot);
        caller
    }

    /// Reads the selectors again and judges them against `snapshot`; whether another verdict came
    /// of it.
    pub fn attest_again(&mut self, snapshot: &Snapshot) -> bool {
        let claimed = self.claimed();
        let admitted = snapshot.admitted(&claimed);
        let admitted: Vec<EntitlementId> = admitted
            .into_iter()
            .map(|held| held.entitlement.id.clone())
            .collect();
        let is_new = admitted != self.admitted;
        self.admitted = admitted;
        self.rights = snapshot.rights;
        if let (Some(process), Some(program)) = (self.process, &self.program)
            && self.has_identity()
        {
            self.programs.remember(process, program);
        }
        is_new
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

    fn claimed(&mut self) -> Claimed {
        let was_seen = |process, program: &Program| {
            self.program.as_ref() == Some(program) || self.programs.contain(process, program)
        };
        let seen = see(&self.peer, self.process, was_seen);
        if seen.has_unmapped_id {
            lacking(
                &self.peer,
                &"the user namespace of the sidecar does not map all ids, \
                and gives this one to whoever it leaves out: it satisfies no selector",
            );
        }
        match seen.program {
            Ok(program) => self.program = Some(program),
            Err(reason) => lacking(&self.peer, &reason),
        }
        seen.claimed
    }
}

fn lacking(peer: &UnixPeer, reason: &dyn Display) {
    let (principal, uid, pid) = (Principal::uid(peer.uid), peer.uid, peer.pid);
    peer_line!(WARN, principal, uid, pid, %reason, "a caller lacks a selector");
}

#[cfg(test)]
mod tests;
