//! Who may have an identity, told by uid and gid alone: the first look at whoever connects.
//!
//! It is made once for every change of rights, so that a flood of connections costs three look-ups
//! each, however many registrations there are.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_model::{EntitlementKind, Selector, SelectorSet};
use countersign_serve::unix::UnixPeer;

use crate::attest::Ids;
use crate::holdings::Snapshot;

/// What the ids of a caller say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByIds {
    /// They give it something, whatever it runs.
    Admitted,
    /// They give it something if it runs a certain program.
    IfProgram,
    /// Nothing can be given to it.
    Nothing,
}

/// What a registration asks for besides a program.
type Asked = (Option<u32>, Option<u32>);

/// What the registrations of this node ask for.
#[derive(Debug, Default)]
struct Asking {
    rights: u64,
    /// Those that ask for nothing else.
    alone: HashSet<Asked>,
    /// Those that ask for a program as well, or for one alone.
    with_program: HashSet<Asked>,
}

/// See the page of this module.
#[derive(Debug, Default)]
pub(super) struct Admissible(ArcSwap<Asking>);

impl Admissible {
    /// What the ids of this caller say now.
    pub(super) fn judge(&self, peer: &UnixPeer, snapshot: &Snapshot) -> ByIds {
        let asking = self.at(snapshot);
        let (mut uid, mut gid) = (None, None);
        for own in Ids::of(peer).claimed.iter() {
            match own {
                Selector::UnixUid(own) => uid = Some(*own),
                Selector::UnixGid(own) => gid = Some(*own),
                _ => {}
            }
        }
        let shown = [(uid, gid), (uid, None), (None, gid), (None, None)];
        let is_in = |asked: &HashSet<Asked>| shown.iter().any(|shown| asked.contains(shown));
        match (is_in(&asking.alone), is_in(&asking.with_program)) {
            (true, _) => ByIds::Admitted,
            (false, true) => ByIds::IfProgram,
            (false, false) => ByIds::Nothing,
        }
    }

    fn at(&self, snapshot: &Snapshot) -> Arc<Asking> {
        let known = self.0.load_full();
        if known.rights == snapshot.rights {
            return known;
        }
        let asking = Arc::new(Asking::of(snapshot));
        self.0.store(Arc::clone(&asking));
        asking
    }
}

impl Asking {
    fn of(snapshot: &Snapshot) -> Self {
        let mut asking = Self {
            rights: snapshot.rights,
            ..Self::default()
        };
        for held in snapshot.entries.values() {
            if let EntitlementKind::Workload(selectors) = &held.entitlement.kind
                && let Some((asked, is_alone)) = asked(selectors)
            {
                match is_alone {
                    true => asking.alone.insert(asked),
                    false => asking.with_program.insert(asked),
                };
            }
        }
        asking
    }
}

/// The ids that a set asks for, and whether for nothing else; `None` where nobody has all of them.
fn asked(selectors: &SelectorSet) -> Option<(Asked, bool)> {
    let (mut uids, mut gids, mut is_alone) = (Vec::new(), Vec::new(), true);
    for selector in selectors.iter() {
        match selector {
            Selector::UnixUid(uid) => uids.push(*uid),
            Selector::UnixGid(gid) => gids.push(*gid),
            _ => is_alone = false,
        }
    }
    let has_one_of_each = uids.len() <= 1 && gids.len() <= 1;
    has_one_of_each.then(|| ((uids.pop(), gids.pop()), is_alone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holdings::{Held, Holdings};
    use crate::local_api::harness::entitlement;

    fn entitle(holdings: &Holdings, path: &str, selectors: &[&str]) {
        let selectors = selectors.iter().map(|text| text.parse().unwrap());
        let entitlement = Arc::new(entitlement(path, SelectorSet::new(selectors).unwrap(), 1));
        let held = Held {
            entitlement: Arc::clone(&entitlement),
            svid: None,
            problem: None,
        };
        holdings.publish(|snapshot| {
            Arc::make_mut(&mut snapshot.entries).insert(entitlement.id.clone(), held);
        });
    }

    fn judge(admissible: &Admissible, holdings: &Holdings, uid: u32, gid: u32) -> ByIds {
        let peer = UnixPeer {
            uid,
            gid,
            pid: None,
        };
        admissible.judge(&peer, &holdings.load())
    }

    #[test]
    fn all_ids_of_a_registration_are_needed() {
        let (admissible, holdings) = (Admissible::default(), Holdings::new());
        entitle(&holdings, "/a", &["unix:uid:7", "unix:gid:8"]);
        entitle(&holdings, "/b", &["unix:gid:9"]);
        entitle(&holdings, "/c", &["unix:uid:5", "unix:uid:6"]);
        entitle(&holdings, "/d", &["unix:uid:4", "unix:path:/bin/a"]);
        for (uid, gid, says) in [
            (7, 8, ByIds::Admitted),
            (7, 1, ByIds::Nothing),
            (1, 8, ByIds::Nothing),
            (1, 9, ByIds::Admitted),
            (5, 1, ByIds::Nothing),
            (4, 1, ByIds::IfProgram),
            (4, 9, ByIds::Admitted),
        ] {
            assert_eq!(judge(&admissible, &holdings, uid, gid), says, "{uid} {gid}");
        }
    }

    #[test]
    fn a_program_alone_decides_for_nobody() {
        let (admissible, holdings) = (Admissible::default(), Holdings::new());
        entitle(&holdings, "/a", &["unix:path:/bin/a"]);
        assert_eq!(judge(&admissible, &holdings, 1, 1), ByIds::IfProgram);
    }

    #[test]
    fn registrations_that_come_and_go_are_seen() {
        let (admissible, holdings) = (Admissible::default(), Holdings::new());
        assert_eq!(judge(&admissible, &holdings, 7, 7), ByIds::Nothing);
        entitle(&holdings, "/a", &["unix:uid:7"]);
        assert_eq!(judge(&admissible, &holdings, 7, 7), ByIds::Admitted);
        holdings.publish(|snapshot| snapshot.entries = Arc::default());
        assert_eq!(judge(&admissible, &holdings, 7, 7), ByIds::Nothing);
    }
}
