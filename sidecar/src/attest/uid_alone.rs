//! Whether the uid of a socket, which is all that its other end shows, satisfies an entitlement.

use countersign_model::{Claimed, Entitlement, EntitlementKind, Selector};

use super::ids::is_ambiguous;

/// Whether some uid alone satisfies an entitlement. Where it does not, a loopback listener with
/// that identity refuses everybody: say so when it starts, with the remedy
/// `attest_callers = "netns"`.
pub(crate) fn is_admissible_by_uid(entitlement: &Entitlement) -> bool {
    match &entitlement.kind {
        EntitlementKind::Node => false,
        EntitlementKind::Workload(selectors) => {
            let mut selectors = selectors.iter();
            match (selectors.next(), selectors.next()) {
                (Some(uid @ Selector::UnixUid(_)), None) => !is_ambiguous(uid),
                _ => false,
            }
        }
    }
}

/// Whether a uid alone satisfies *all* selectors of an entitlement. One that asks for a gid or an
/// executable as well is never satisfied, nor is any by a uid that can be anybody's: see
/// [`Entitlement::admits`] for callers of the socket.
pub(crate) fn admits(entitlement: &Entitlement, uid: u32) -> bool {
    let uid = Selector::UnixUid(uid);
    !is_ambiguous(&uid) && entitlement.admits(&[uid].into_iter().collect::<Claimed>())
}

#[cfg(test)]
mod tests {
    use countersign_model::SelectorSet;

    use super::*;
    use crate::local_api::harness::entitlement;

    #[test]
    fn satisfies_a_uid_selector_only() {
        let uid = SelectorSet::new([Selector::UnixUid(7)]).unwrap();
        let both = SelectorSet::new([Selector::UnixUid(7), Selector::UnixGid(7)]).unwrap();
        let (uid, both) = (entitlement("/a", uid, 1), entitlement("/b", both, 2));
        assert!(admits(&uid, 7) && !admits(&uid, 8));
        assert!(!admits(&both, 7));
        assert!(is_admissible_by_uid(&uid) && !is_admissible_by_uid(&both));
    }
}
