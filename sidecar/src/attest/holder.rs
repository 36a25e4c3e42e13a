//! Whom a caller is counted for.
//!
//! Whoever may create user namespaces has thousands of uids, and all of them can keep one gid and run one
//! program. So a caller is counted for its uid only where a registration that admits it names that uid;
//! otherwise for the gid that is named, or for the program: all uids that come by one of these share.

use countersign_model::{Selector, SelectorSet};
use countersign_serve::places::Holder;
use countersign_serve::unix::UnixPeer;

/// Whom a caller is counted for whom these sets of selectors admit: for the closest that one of them names.
pub(crate) fn holder<'a>(
    peer: &UnixPeer,
    admitting: impl Iterator<Item = &'a SelectorSet>,
) -> Holder {
    let named = admitting.flat_map(SelectorSet::iter).filter_map(named);
    named.min().unwrap_or(Holder::Stranger(peer.uid))
}

fn named(selector: &Selector) -> Option<Holder> {
    match selector {
        Selector::UnixUid(uid) => Some(Holder::Uid(*uid)),
        Selector::UnixGid(gid) => Some(Holder::Gid(*gid)),
        Selector::UnixPath(path) => Some(Holder::Program(path.as_str().into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom a caller of uid 7 and gid 8 is counted for whom these admit.
    fn counted_for(admitting: &[&[&str]]) -> Holder {
        let peer = UnixPeer {
            uid: 7,
            gid: 8,
            pid: None,
        };
        let set = |texts: &&[&str]| SelectorSet::new(texts.iter().map(|it| it.parse().unwrap()));
        let sets: Vec<_> = admitting.iter().map(|texts| set(texts).unwrap()).collect();
        holder(&peer, sets.iter())
    }

    #[test]
    fn callers_are_counted_for_what_admits_them() {
        let program = Holder::Program("/bin/a".into());
        for (admitting, holder) in [
            (&[][..], Holder::Stranger(7)),
            (&[&["unix:uid:7"][..]][..], Holder::Uid(7)),
            (&[&["unix:gid:8"]], Holder::Gid(8)),
            (&[&["unix:path:/bin/a"]], program),
            (&[&["unix:gid:8", "unix:path:/bin/a"]], Holder::Gid(8)),
            (&[&["unix:uid:7", "unix:path:/bin/a"]], Holder::Uid(7)),
            (&[&["unix:uid:7", "unix:gid:8"]], Holder::Uid(7)),
            (&[&["unix:path:/bin/a"], &["unix:gid:8"]], Holder::Gid(8)),
            (&[&["unix:gid:8"], &["unix:uid:7"]], Holder::Uid(7)),
        ] {
            assert_eq!(counted_for(admitting), holder, "{admitting:?}");
        }
    }
}
