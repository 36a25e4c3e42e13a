use std::time::Duration;

use countersign_discovery::Stamp;
use countersign_model::{Entitlement, EntitlementId, Lifetime, Serial};
use countersign_verify::TrustBundle;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;

use super::chain::ArrivedChain;
use super::*;
use crate::identity::Keypair;
use crate::identity::renew::PendingKey;
use crate::pki::{Authority, id, node_right, now, right, serial, trust_domain};

/// A node with one entitlement, `spiffe://example.org/web`.
pub(super) struct World {
    pub(super) installer: Installer,
    holdings: Arc<Holdings>,
    trust: Arc<TrustCell>,
    authority: Authority,
    folder: TempDir,
}

pub(super) fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let (installer, holdings, trust) = restore(&folder);
    let mut world = World {
        installer,
        holdings,
        trust,
        authority: Authority::new("root"),
        folder,
    };
    world
        .installer
        .bundle(vec![world.authority.root()], "v1")
        .unwrap();
    let rights = vec![right('1', "/web", 1), node_right("/node/a")];
    world
        .installer
        .entitlements(rights, &[], Stamp::default())
        .unwrap();
    world
}

pub(super) fn restore(folder: &TempDir) -> (Installer, Arc<Holdings>, Arc<TrustCell>) {
    let state = StateDir::open(folder.path()).unwrap();
    let holdings = Holdings::new();
    let trust = TrustCell::new([].into_iter().collect());
    let installer = Installer::restore(trust_domain(), state, holdings.clone(), trust.clone());
    (installer.unwrap(), holdings, trust)
}

fn pending(issued_at: i64) -> PendingKey {
    let issued_at = now() + Duration::from_secs(issued_at.unsigned_abs());
    PendingKey {
        key: Arc::new(Keypair::generate().unwrap()),
        key_epoch: 0,
        issued: Some(Lifetime {
            issued_at,
            not_after: issued_at + Duration::from_secs(3_600),
        }),
    }
}

impl World {
    fn chain_for(&self, key: &PendingKey, path: &str, index: u64) -> ArrivedChain {
        let spki = key.key.spki();
        ArrivedChain {
            entitlement: right('1', "/web", 1).id,
            certificates: self.authority.certify(&id(path), serial(index), spki),
        }
    }

    fn held(&self) -> Option<Serial> {
        let snapshot = self.holdings.load();
        let held = snapshot.entries.get(&right('1', "/web", 1).id)?;
        Some(held.svid.as_ref()?.serial)
    }

    fn install(&mut self, index: u64, issued_at: i64) -> Result<(), InstallError> {
        let key = pending(issued_at);
        let chain = self.chain_for(&key, "/web", index);
        self.installer.chain(chain, &key, now()).map(drop)
    }
}

#[test]
fn a_verified_chain_is_published_once() {
    let mut world = world();
    let before = world.holdings.load().generation;
    world.install(1, 0).unwrap();
    assert_eq!(world.held(), Some(serial(1)));
    assert_eq!(world.holdings.load().generation, before + 1);
}

#[test]
fn a_good_credential_is_never_replaced_by_a_failure() {
    let mut world = world();
    world.install(1, 0).unwrap();
    let key = pending(10);
    let failures = [
        (world.chain_for(&key, "/db", 2), key.clone()),
        (world.chain_for(&key, "/web", 2), pending(10)),
        (
            ArrivedChain {
                certificates: Authority::new("root").certify(
                    &id("/web"),
                    serial(2),
                    key.key.spki(),
                ),
                ..world.chain_for(&key, "/web", 2)
            },
            key.clone(),
        ),
        (
            ArrivedChain {
                certificates: Vec::new(),
                ..world.chain_for(&key, "/web", 2)
            },
            key.clone(),
        ),
    ];
    for (chain, key) in failures {
        world.installer.chain(chain, &key, now()).unwrap_err();
        assert_eq!(world.held(), Some(serial(1)));
    }
    // The clock says that the new chain has expired: the old one stays as well.
    let chain = world.chain_for(&key, "/web", 2);
    let later = "2050-01-01T00:00:00Z".parse().unwrap();
    let error = world.installer.chain(chain, &key, later).unwrap_err();
    assert!(matches!(error, InstallError::Refused(_)), "{error}");
    assert_eq!(world.held(), Some(serial(1)));
}

#[test]
fn an_older_state_never_replaces_a_newer_one() {
    let mut world = world();
    let (old, new) = (pending(0), pending(1));
    let (first, second) = (
        world.chain_for(&old, "/web", 1),
        world.chain_for(&new, "/web", 2),
    );
    world.installer.chain(first.clone(), &old, now()).unwrap();
    world.installer.chain(second, &new, now()).unwrap();
    // Said again, while the next key waits.
    let error = world.installer.chain(first, &pending(2), now());
    assert!(matches!(error, Err(InstallError::UnknownKey)), "{error:?}");
    assert_eq!(world.held(), Some(serial(2)));
}

#[test]
fn a_clock_set_back_upstream_stops_no_renewal() {
    let mut world = world();
    world.install(1, 100).unwrap();
    world.install(2, 0).unwrap();
    assert_eq!(world.held(), Some(serial(2)));
}

#[test]
fn a_chain_before_its_answer_counts_from_its_issue() {
    for backdate in [0, 20, 60, 600].map(Duration::from_secs) {
        let mut world = world();
        let told = Entitlement {
            backdate,
            ..right('1', "/web", 1)
        };
        let told = world
            .installer
            .entitlements(vec![told], &[], Stamp::default());
        told.unwrap();
        let key = PendingKey {
            issued: None,
            ..pending(0)
        };
        let chain = world.chain_for(&key, "/web", 1);
        let svid = world.installer.chain(chain, &key, now()).unwrap();
        let not_before: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(svid.lifetime.issued_at, not_before + backdate);
    }
}

/// NotBefore was not dated back, as it is not before that of a young issuer.
#[test]
fn a_chain_before_its_answer_was_not_issued_in_the_future() {
    let mut world = world();
    let key = PendingKey {
        issued: None,
        ..pending(0)
    };
    let not_before: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
    let arrived = not_before + Duration::from_secs(5);
    let chain = world.chain_for(&key, "/web", 1);
    let svid = world.installer.chain(chain, &key, arrived).unwrap();
    assert_eq!(svid.lifetime.issued_at, arrived);
}

#[test]
fn a_bundle_without_roots_changes_nothing() {
    let mut world = world();
    let error = world.installer.bundle(Vec::new(), "v2").unwrap_err();
    assert!(matches!(error, InstallError::Bundle(_)), "{error}");
    let junk = vec![CertificateDer::from(vec![0x30, 0x00])];
    world.installer.bundle(junk, "v3").unwrap_err();
    assert_eq!(world.installer.bundle_version(), Some("v1"));
    world.install(1, 0).unwrap();
}

#[test]
fn a_chain_before_its_bundle_is_not_lost() {
    let mut world = world();
    let new_root = Authority::new("next root");
    let key = pending(0);
    let chain = ArrivedChain {
        entitlement: right('1', "/web", 1).id,
        certificates: new_root.certify(&id("/web"), serial(9), key.key.spki()),
    };
    world
        .installer
        .chain(chain.clone(), &key, now())
        .unwrap_err();
    let roots = vec![world.authority.root(), new_root.root()];
    world.installer.bundle(roots, "v2").unwrap();
    world.installer.chain(chain, &key, now()).unwrap();
    assert_eq!(world.held(), Some(serial(9)));
}

/// After a restore the control plane may know of no such right.
#[test]
fn unknown_right_is_dropped_once_it_expired() {
    let mut world = world();
    world.install(1, 0).unwrap();
    let unknown = right('1', "/web", 1).id;
    let end = world.holdings.load().entries[&unknown].svid.clone();
    let end = end.unwrap().lifetime.not_after;
    assert!(!world.installer.drop_expired(&unknown, end));
    assert_eq!(world.held(), Some(serial(1)), "served to its end");
    let later = end + Duration::from_secs(1);
    assert!(world.installer.drop_expired(&unknown, later));
    assert!(!world.holdings.load().entries.contains_key(&unknown));
}

#[test]
fn rights_of_a_node_are_bounded() {
    let mut world = world();
    let numbered = |n: usize| Entitlement {
        id: EntitlementId::parse(&format!("reg-{n:032x}")).unwrap(),
        ..right('1', "/web", 1)
    };
    let held = |world: &World| world.holdings.load().entries.len();
    let some: Vec<_> = (0x100..0x100 + MAX_ENTITLEMENTS - 2)
        .map(numbered)
        .collect();
    world
        .installer
        .entitlements(some.clone(), &[], Stamp::default())
        .unwrap();
    assert_eq!(held(&world), MAX_ENTITLEMENTS);
    let more = vec![numbered(0x100), numbered(1 << 20)];
    let refused = world
        .installer
        .entitlements(more.clone(), &[], Stamp::default());
    assert!(matches!(refused, Err(InstallError::TooMany)), "{refused:?}");
    assert_eq!(held(&world), MAX_ENTITLEMENTS, "nothing was added");
    // What is known is no addition, and what goes makes room.
    world
        .installer
        .entitlements(some, &[], Stamp::default())
        .unwrap();
    let gone = [numbered(0x101).id];
    world
        .installer
        .entitlements(more, &gone, Stamp::default())
        .unwrap();
    assert_eq!(held(&world), MAX_ENTITLEMENTS);
}

#[test]
fn a_removed_right_takes_its_credential_with_it() {
    let mut world = world();
    world.install(1, 0).unwrap();
    let gone = right('1', "/web", 1).id;
    let stamp = Stamp {
        epoch: 1,
        sequence: 8,
    };
    world
        .installer
        .entitlements(Vec::new(), &[gone], stamp)
        .unwrap();
    assert_eq!(world.held(), None);
    assert_eq!(world.holdings.load().stamp, Some(stamp));
    let error = world.install(2, 10).unwrap_err();
    assert!(matches!(error, InstallError::NotEntitled), "{error}");
}

#[test]
fn absence_is_not_removal() {
    let mut world = world();
    world.install(1, 0).unwrap();
    let other = vec![right('2', "/db", 2)];
    world
        .installer
        .entitlements(other, &[], Stamp::default())
        .unwrap();
    assert_eq!(world.held(), Some(serial(1)));
}

#[test]
fn a_changed_right_keeps_its_credential() {
    let mut world = world();
    world.install(1, 0).unwrap();
    let mut changed = right('1', "/web", 1);
    changed.min_key_epoch = 3;
    world
        .installer
        .entitlements(vec![changed], &[], Stamp::default())
        .unwrap();
    assert_eq!(world.held(), Some(serial(1)));
}

#[test]
fn the_node_survives_a_restart_without_a_token() {
    let mut world = world();
    let key = pending(0);
    let node = id("/node/a");
    let chain = world.authority.certify(&node, serial(3), key.key.spki());
    world
        .installer
        .attested(&node, chain, (&key.key, now()), now())
        .unwrap();
    let World {
        installer, folder, ..
    } = world;
    drop(installer);
    let (mut installer, holdings, trust) = restore(&folder);
    assert_eq!(installer.node().unwrap().svid.serial, serial(3));
    assert!(installer.node_identity().load().is_some());
    assert_eq!(installer.bundle_version(), Some("v1"));
    assert!(trust.load().get(&trust_domain()).is_some());
    // Its own entitlement comes with the stream, and finds the credential.
    let rights = vec![node_right("/node/a")];
    installer
        .entitlements(rights, &[], Stamp::default())
        .unwrap();
    let snapshot = holdings.load();
    assert!(snapshot.entries[&EntitlementId::node()].svid.is_some());
}

#[test]
fn a_disk_that_refuses_keeps_the_old_bundle() {
    let mut world = world();
    std::fs::create_dir_all(world.folder.path().join("bundle.json.new/occupied")).unwrap();
    let roots = vec![Authority::new("other").root()];
    let error = world.installer.bundle(roots, "v2").unwrap_err();
    assert!(matches!(error, InstallError::State(_)), "{error}");
    assert_eq!(world.installer.bundle_version(), Some("v1"));
    let trusted = world.trust.load();
    let roots = trusted.get(&trust_domain()).unwrap().roots().to_vec();
    assert_eq!(roots, [world.authority.root()]);
}

#[test]
fn a_bootstrap_bundle_yields_to_a_stored_one() {
    let mut world = world();
    let other = Authority::new("bootstrap").bundle();
    let other = TrustBundle::new(trust_domain(), other.roots().to_vec()).unwrap();
    world.installer.bootstrap(other);
    let trusted = world.trust.load();
    assert_eq!(
        trusted.get(&trust_domain()).unwrap().roots(),
        [world.authority.root()]
    );
}
