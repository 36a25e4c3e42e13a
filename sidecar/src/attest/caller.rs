//! One caller of the local socket, and which identities it may be handed right now.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_model::{Claimed, EntitlementId, EntitlementKind, Selector, SelectorSet, SpiffeId};
use countersign_serve::places::Holder;
use countersign_serve::unix::UnixPeer;
use countersign_telemetry::{Principal, peer_line};

use super::holder::holder;
use super::peer::LocalPeer;
use super::program::{Program, Programs};
use super::selectors::{Ids, NoPath, Process, claimed_path, program};
use crate::holdings::{Held, Snapshot};

/// A caller. Its selectors are read when its stream opens and again before it is handed anything
/// new, so that a process which has become another loses what the other may not have. One whose
/// executable was replaced on disk is still the same, and keeps what it has.
#[derive(Debug)]
pub(crate) struct Caller {
    peer: UnixPeer,
    process: Option<Process>,
    program: Option<Program>,
    programs: Arc<Programs>,
    shared: Arc<Admitted>,
    /// What was last said to be lacking: each reason is one line a stream.
    told: Option<String>,
    admitted: Arc<[EntitlementId]>,
    holder: Holder,
    /// The rights that it was judged by; `None` where a file system did not answer.
    rights: Option<u64>,
}

/// What the calls of one connection were last found to be admitted to. It is the same for all of
/// them, and kept once: an Envoy with a thousand secrets has as many streams.
#[derive(Debug, Default)]
pub(crate) struct Admitted(Mutex<Arc<[EntitlementId]>>);

impl Admitted {
    /// The same, as all others on this connection have it.
    fn kept(&self, admitted: Vec<EntitlementId>) -> Arc<[EntitlementId]> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if **last != *admitted {
            *last = admitted.into();
        }
        Arc::clone(&last)
    }
}

impl Caller {
    /// The process behind a connection, judged against a snapshot. `programs` are those that were
    /// seen on other connections.
    pub(crate) async fn attest(
        local: LocalPeer,
        snapshot: &Snapshot,
        programs: &Arc<Programs>,
    ) -> Self {
        let LocalPeer {
            peer,
            process,
            admitted: shared,
        } = local;
        let mut caller = Self {
            peer,
            process,
            program: None,
            programs: Arc::clone(programs),
            shared,
            told: None,
            admitted: Arc::default(),
            holder: Holder::Stranger(peer.uid),
            rights: None,
        };
        caller.attest_again(snapshot).await;
        caller
    }

    /// Reads the selectors again and judges them against `snapshot`; whether another verdict came
    /// of it.
    pub(crate) async fn attest_again(&mut self, snapshot: &Snapshot) -> bool {
        let (claimed, is_answered) = self.claimed(snapshot).await;
        let admitted = snapshot.admitted(&claimed);
        let sets = admitted.iter().filter_map(|held| selectors(held));
        self.holder = holder(&self.peer, sets);
        let admitted: Vec<EntitlementId> = admitted
            .into_iter()
            .map(|held| held.entitlement.id.clone())
            .collect();
        let is_new = *admitted != *self.admitted;
        self.admitted = self.shared.kept(admitted);
        self.rights = is_answered.then_some(snapshot.rights);
        if let (Some(process), Some(program)) = (self.process, &self.program)
            && self.has_identity()
        {
            self.programs.remember(&self.holder, process, program);
        }
        is_new
    }

    /// Whether the entitlements of this node changed since this caller was last judged.
    pub(crate) fn is_outdated(&self, snapshot: &Snapshot) -> bool {
        self.rights != Some(snapshot.rights)
    }

    /// Whether all is known of it that its rights depend on: else the next look may find more.
    pub(crate) fn is_judged(&self) -> bool {
        self.rights.is_some()
    }

    /// The entitlements that it may be handed, the default first.
    pub(crate) fn admitted_ids(&self) -> Arc<[EntitlementId]> {
        Arc::clone(&self.admitted)
    }

    /// Its default identity.
    pub(crate) fn default_identity<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a SpiffeId> {
        let default = self.admitted(snapshot).into_iter().next()?;
        Some(&default.entitlement.spiffe_id)
    }

    /// Whether nothing can be said of it, for the file system of its executable does not answer:
    /// it may have an identity as soon as that does.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.rights.is_none() && !self.has_identity()
    }

    /// What the caller may be handed, the default first.
    pub(crate) fn admitted<'a>(&self, snapshot: &'a Snapshot) -> Vec<&'a Held> {
        let held = |id| snapshot.entries.get(id);
        self.admitted.iter().filter_map(held).collect()
    }

    /// Whether the caller may be handed anything at all.
    pub(crate) fn has_identity(&self) -> bool {
        !self.admitted.is_empty()
    }

    /// Whom it is counted for.
    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Who it is, for logs.
    pub(crate) fn peer(&self) -> &UnixPeer {
        &self.peer
    }

    /// A name that no other living process has: pid and start time.
    pub(crate) fn process_name(&self) -> String {
        match self.process {
            Some(Process { pid, started }) => format!("{pid}:{started}"),
            None => format!("uid-{}:unknown", self.peer.uid),
        }
    }

    /// What it can show of what some entitlement asks for, and whether that is all.
    async fn claimed(&mut self, snapshot: &Snapshot) -> (Claimed, bool) {
        let ids = Ids::of(&self.peer);
        if ids.ambiguous.iter().any(|id| is_asked_for(snapshot, id)) {
            self.lacks(&AMBIGUOUS);
        }
        let paths = paths_for(snapshot, &ids.claimed);
        let (path, is_answered) = match self.look(&paths).await {
            Ok(program) => {
                let path = program.as_ref().map(Program::selector);
                self.program = program.or(self.program.take());
                (path, true)
            }
            Err(reason) => {
                self.lacks(&reason);
                (None, !matches!(reason, NoPath::Unanswered(_)))
            }
        };
        let claimed = ids.claimed.iter().cloned().chain(path).collect();
        (claimed, is_answered)
    }

    /// Its executable, if that is at one of these paths.
    async fn look(&self, paths: &BTreeSet<&str>) -> Result<Option<Program>, NoPath> {
        let Some((process, path)) = claimed_path(self.process, paths)? else {
            return Ok(None);
        };
        let (peer, own) = (self.peer, self.program.clone());
        let (programs, at) = (Arc::clone(&self.programs), path.clone());
        let look = move || {
            program(&peer, process, &at, |process, program| {
                own.as_ref() == Some(program) || programs.contain(process, program)
            })
        };
        self.programs.look(&path, look).await?
    }

    fn lacks(&mut self, reason: &dyn Display) {
        let reason = reason.to_string();
        if self.told.as_ref() == Some(&reason) {
            return;
        }
        let (principal, uid, pid) = (Principal::uid(self.peer.uid), self.peer.uid, self.peer.pid);
        peer_line!(WARN, principal, uid, pid, %reason, "a caller lacks a selector");
        self.told = Some(reason);
    }
}

const AMBIGUOUS: &str = "the user namespace of the sidecar does not map all ids, and gives this one \
     to whoever it leaves out: it satisfies no selector";

fn asked(snapshot: &Snapshot) -> impl Iterator<Item = &SelectorSet> {
    snapshot.entries.values().filter_map(selectors)
}

fn selectors(held: &Held) -> Option<&SelectorSet> {
    match &held.entitlement.kind {
        EntitlementKind::Workload(selectors) => Some(selectors),
        EntitlementKind::Node => None,
    }
}

fn is_asked_for(snapshot: &Snapshot, selector: &Selector) -> bool {
    asked(snapshot).any(|set| set.iter().any(|asked| asked == selector))
}

/// The paths that would give a caller with these ids something.
fn paths_for<'a>(snapshot: &'a Snapshot, ids: &Claimed) -> BTreeSet<&'a str> {
    let would_do = |set: &&SelectorSet| {
        let mut others = set.iter().filter(|selector| path_of(selector).is_none());
        others.all(|asked| ids.iter().any(|own| own == asked))
    };
    let sets = asked(snapshot).filter(would_do);
    sets.flat_map(SelectorSet::iter)
        .filter_map(path_of)
        .collect()
}

fn path_of(selector: &Selector) -> Option<&str> {
    match selector {
        Selector::UnixPath(path) => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
