//! User and group ids that stand for nobody in particular.
//!
//! In a user namespace the kernel shows every id that the namespace does not map as one and the
//! same, the overflow id (65534 by default). Where the namespace leaves any id out, whoever has the
//! overflow id can be anyone, even if that number is mapped as well: so it satisfies no selector.

use std::fs;
use std::sync::LazyLock;

use countersign_model::Selector;

/// Ids that a namespace can map: all but the one that means "none".
const ALL_IDS: u64 = u32::MAX as u64;
/// What the kernel takes if nobody set it.
const DEFAULT_OVERFLOW: u32 = 65_534;

/// What our own user namespace says; it is fixed before a program starts in it.
static OURS: LazyLock<Ambiguous> = LazyLock::new(|| Ambiguous {
    uid: read("overflowuid", "uid_map"),
    gid: read("overflowgid", "gid_map"),
});

/// The ids that can be anybody's; `None` where every id is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ambiguous {
    uid: Option<u32>,
    gid: Option<u32>,
}

/// Whether an id can be anybody's.
pub(super) fn is_ambiguous(id: &Selector) -> bool {
    match id {
        Selector::UnixUid(uid) => OURS.uid == Some(*uid),
        Selector::UnixGid(gid) => OURS.gid == Some(*gid),
        _ => false,
    }
}

/// What cannot be read counts as the worst.
fn read(overflow: &str, map: &str) -> Option<u32> {
    let overflow = fs::read_to_string(format!("/proc/sys/kernel/{overflow}")).unwrap_or_default();
    let map = fs::read_to_string(format!("/proc/self/{map}")).unwrap_or_default();
    ambiguous(&overflow, &map)
}

/// The overflow id, unless the map (user_namespaces(7): first id inside, first outside, how many)
/// leaves none out.
fn ambiguous(overflow: &str, map: &str) -> Option<u32> {
    let length = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
    let mapped: u64 = map.lines().filter_map(length).sum();
    (mapped < ALL_IDS).then(|| overflow.trim().parse().unwrap_or(DEFAULT_OVERFLOW))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use countersign_model::SelectorSet;
    use countersign_serve::unix::UnixPeer;

    use crate::attest::selectors::Ids;
    use crate::attest::uid_alone::admits;
    use crate::forks;
    use crate::local_api::harness::entitlement;

    use super::*;

    /// Set in the process that this test starts in a namespace of its own.
    const INSIDE: &str = "COUNTERSIGN_TEST_INSIDE";
    const STRANGER: u32 = 54_321;

    #[test]
    fn every_id_mapped_leaves_none_ambiguous() {
        assert_eq!(
            ambiguous("65534\n", "         0          0 4294967295\n"),
            None
        );
        assert_eq!(ambiguous("65534", "0 0 1000\n1000 5000 4294966295\n"), None);
    }

    #[test]
    fn an_overflow_id_is_ambiguous_though_it_is_mapped() {
        for map in [
            "0 1000 1\n",
            "0 100000 65536\n",
            "65534 1000 1\n",
            "",
            "junk",
        ] {
            assert_eq!(ambiguous("65534\n", map), Some(65_534), "{map:?}");
        }
        assert_eq!(ambiguous("99", "0 0 1"), Some(99));
        assert_eq!(ambiguous("", "0 0 1"), Some(DEFAULT_OVERFLOW));
    }

    #[test]
    fn unmapped_users_satisfy_no_selector() {
        if std::env::var_os(INSIDE).is_some() {
            return meet_a_stranger();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        for path in [folder.path(), &path] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); \
                      s.connect(sys.argv[1]); s.recv(1)";
        let mut stranger = Command::new("python3");
        stranger
            .args(["-c", script])
            .arg(&path)
            .uid(STRANGER)
            .gid(STRANGER);
        let mut stranger = forks::spawn(&mut stranger).unwrap();
        let mut inside = Command::new("unshare");
        inside
            .args(["--user", "--map-root-user"])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "attest::ids::tests::unmapped_users_satisfy_no_selector",
            ])
            .env(INSIDE, "1")
            .stdin(Stdio::from(OwnedFd::from(listener)));
        let inside = forks::output(&mut inside).unwrap();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        let said = String::from_utf8_lossy(&inside.stdout);
        assert!(
            inside.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }

    /// In a namespace that maps root alone, with a listener as standard input.
    fn meet_a_stranger() {
        let listener = rustix::io::dup(std::io::stdin()).unwrap();
        let (stream, _) = UnixListener::from(listener).accept().unwrap();
        let credentials = rustix::net::sockopt::socket_peercred(&stream).unwrap();
        let peer = UnixPeer {
            uid: credentials.uid.as_raw(),
            gid: credentials.gid.as_raw(),
            pid: None,
        };
        assert_eq!((peer.uid, peer.gid), (DEFAULT_OVERFLOW, DEFAULT_OVERFLOW));
        let ids = Ids::of(&peer);
        assert_eq!((ids.claimed.iter().count(), ids.ambiguous.len()), (0, 2));
        for (uid, admitted) in [(DEFAULT_OVERFLOW, false), (0, true)] {
            let selectors = SelectorSet::new([Selector::UnixUid(uid)]).unwrap();
            assert_eq!(admits(&entitlement("/a", selectors, 1), uid), admitted);
        }
    }
}
