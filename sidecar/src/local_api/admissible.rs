//! What uid and gid alone say of whoever connects: the first look at it. It is made ready once for every change
//! of rights, so that a flood of connections costs few look-ups each, however many registrations there are.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_model::{EntitlementKind, Selector, SelectorSet};
use countersign_serve::places::{Holder, Standing};
use countersign_serve::unix::UnixPeer;

use crate::attest::Ids;
use crate::holdings::Snapshot;

/// What the ids of a caller say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ByIds {
    /// Whom it is counted for, whatever it runs.
    pub(crate) holder: Holder,
    /// Whether it is counted for another if it runs a certain program.
    pub(crate) asks_program: bool,
}

impl ByIds {
    /// Whom it is counted for while its program is not known: so that nobody is refused for want of a
    /// place among those whom it need not share with.
    pub(crate) fn at_first(self, peer: &UnixPeer) -> Holder {
        match self.asks_program {
            true => Holder::Stranger(peer.uid),
            false => self.holder,
        }
    }
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
        // The closest comes first.
        let admitting = |asked: &HashSet<Asked>| shown.into_iter().find(|it| asked.contains(it));
        let alone = admitting(&asking.alone).and_then(named_ids);
        let holder = alone.unwrap_or(Holder::Stranger(peer.uid));
        let asks_program = admitting(&asking.with_program).is_some_and(|it| match named_ids(it) {
            Some(closest) => closest < holder,
            None => holder.standing() == Standing::Stranger,
        });
        ByIds {
            holder,
            asks_program,
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

/// The closer of two ids.
fn named_ids((uid, gid): Asked) -> Option<Holder> {
    uid.map(Holder::Uid).or(gid.map(Holder::Gid))
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
        for (uid, gid, holder, asks_program) in [
            (7, 8, Holder::Uid(7), false),
            (7, 1, Holder::Stranger(7), false),
            (1, 8, Holder::Stranger(1), false),
            (1, 9, Holder::Gid(9), false),
            (5, 1, Holder::Stranger(5), false),
            (4, 1, Holder::Stranger(4), true),
            // Its program would tell it from all others of this gid.
            (4, 9, Holder::Gid(9), true),
        ] {
            let says = ByIds {
                holder,
                asks_program,
            };
            assert_eq!(judge(&admissible, &holdings, uid, gid), says, "{uid} {gid}");
        }
    }

    #[test]
    fn a_program_alone_decides_for_nobody() {
        let (admissible, holdings) = (Admissible::default(), Holdings::new());
        entitle(&holdings, "/a", &["unix:path:/bin/a"]);
        let says = judge(&admissible, &holdings, 1, 1);
        assert_eq!(
            (says.holder, says.asks_program),
            (Holder::Stranger(1), true)
        );
        // Who is admitted anyway is not asked for it.
        entitle(&holdings, "/b", &["unix:gid:1"]);
        let says = judge(&admissible, &holdings, 1, 1);
        assert_eq!((says.holder, says.asks_program), (Holder::Gid(1), false));
    }

    #[test]
    fn registrations_that_come_and_go_are_seen() {
        let (admissible, holdings) = (Admissible::default(), Holdings::new());
        let holder = || judge(&admissible, &holdings, 7, 7).holder;
        assert_eq!(holder(), Holder::Stranger(7));
        entitle(&holdings, "/a", &["unix:uid:7"]);
        assert_eq!(holder(), Holder::Uid(7));
        holdings.publish(|snapshot| snapshot.entries = Arc::default());
        assert_eq!(holder(), Holder::Stranger(7));
    }
}
