use std::collections::BTreeMap;

use countersign_serve::places::{Bounds, Holder, Places, Surplus};

use super::reasons::MAX_REASONS;
use super::*;
use crate::pki::{Authority, id, node_right, now, right, serial};

/// After every certificate of this world.
const LATER: &str = "2041-01-01T00:00:00Z";

fn later() -> Timestamp {
    LATER.parse().unwrap()
}

/// A node with these workloads, each with a credential.
struct World {
    snapshot: Snapshot,
    presented: Vec<SpiffeId>,
    not_installed: Vec<SpiffeId>,
    link: LinkState,
}

impl World {
    fn holding(paths: &[&str]) -> Self {
        let authority = Authority::new("root");
        let node = node_right("/node/a");
        let workloads = paths
            .iter()
            .zip('0'..)
            .map(|(path, name)| right(name, path, 1));
        let held = workloads.chain([node]).map(|entitlement| {
            let svid = authority.svid(&entitlement.spiffe_id, serial(1));
            let held = Held {
                entitlement: Arc::new(entitlement.clone()),
                svid: Some(svid),
                problem: None,
            };
            (entitlement.id, held)
        });
        let mut link = LinkState::starting(now());
        link.opened("https://a".into(), Vec::new(), now());
        Self {
            snapshot: Snapshot {
                bundle: Some(authority.bundle()),
                entries: Arc::new(held.collect()),
                ..Snapshot::default()
            },
            presented: Vec::new(),
            not_installed: Vec::new(),
            link,
        }
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Held)) {
        let mut entries = BTreeMap::clone(&self.snapshot.entries);
        let mut held = entries.values_mut();
        change(
            held.find(|held| held.entitlement.spiffe_id == id(path))
                .unwrap(),
        );
        self.snapshot.entries = Arc::new(entries);
    }

    /// The credential of a workload lasts for ever.
    fn renew(&mut self, path: &str) {
        self.change(path, |held| {
            let mut svid = Authority::new("root").svid(&id(path), serial(2));
            Arc::get_mut(&mut svid).unwrap().lifetime.not_after = Timestamp::MAX;
            held.svid = Some(svid);
        });
    }

    fn disconnect(&mut self) {
        self.link
            .failed("connection refused".into(), Vec::new(), now());
    }

    fn missing(&self, now: Timestamp) -> Vec<String> {
        self.reasons(now).named()
    }

    fn reasons(&self, now: Timestamp) -> Reasons {
        let view = View {
            snapshot: &self.snapshot,
            presented: self.presented.iter().collect(),
            not_installed: self.not_installed.iter().collect(),
            link: &self.link,
        };
        view.missing(now)
    }
}

#[test]
fn lost_control_plane_leaves_good_credentials_ready() {
    let mut world = World::holding(&["/web"]);
    world.disconnect();
    assert!(world.missing(now()).is_empty());
}

#[test]
fn expired_credentials_are_not_ready() {
    let mut world = World::holding(&["/web", "/api"]);
    world.presented = vec![id("/web")];
    world.disconnect();
    world.change("/api", |held| {
        held.problem = Some("the disk is full".into());
    });
    let [link, node, web, api] = &world.missing(later())[..] else {
        panic!("{:?}", world.missing(later()));
    };
    assert!(
        web.contains("/web expired at 2040-01-01T00:00:00Z: it was not renewed"),
        "{web}"
    );
    assert!(
        api.contains("/api expired") && api.ends_with(": the disk is full"),
        "{api}"
    );
    assert!(node.contains("/node/a expired"), "{node}");
    assert!(link.contains("not connected since 2026") && link.ends_with("connection refused"));
}

#[test]
fn expiry_counts_though_the_control_plane_is_connected() {
    let mut world = World::holding(&["/web", "/api"]);
    world.renew("/api");
    let missing = world.missing(later());
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].contains("/web expired"));
}

#[test]
fn expired_node_alone_serves_what_is_good() {
    let mut world = World::holding(&["/web"]);
    world.renew("/web");
    world.disconnect();
    assert!(world.missing(later()).is_empty());
    world.change("/web", |held| held.svid = None);
    assert!(world.missing(later())[1].contains("/node/a expired"));
}

#[test]
fn listener_without_its_identity_is_not_ready() {
    let mut world = World::holding(&["/web"]);
    world.presented = vec![id("/web")];
    world.not_installed = vec![id("/web")];
    world.change("/web", |held| held.problem = Some("not this one".into()));
    assert_eq!(
        world.missing(now()),
        ["spiffe://example.org/web is not installed: not this one"]
    );
}

#[test]
fn counts_name_no_identity_and_no_place() {
    let mut world = World::holding(&["/web", "/api"]);
    world.presented = vec![id("/web"), id("/db")];
    world.not_installed = vec![id("/db")];
    world.link.failed(
        "cannot read the bundle /etc/x of spiffe://example.org/cp".into(),
        Vec::new(),
        now(),
    );
    world.change("/api", |held| {
        held.problem = Some("/var/lib/y is full".into());
    });
    assert_eq!(
        world.reasons(later()).counted(),
        [
            "the control plane is not connected",
            "certificates expired: 3",
            "identities of listeners not installed: 1",
        ]
    );
    world.snapshot.bundle = None;
    world.link = LinkState::starting(now());
    assert_eq!(
        world.reasons(now()).counted(),
        [
            "no trust bundle is installed",
            "the control plane is not connected yet",
            "identities of listeners not installed: 1",
        ]
    );
}

#[test]
fn right_that_waits_for_its_first_certificate_is_no_fault() {
    let mut world = World::holding(&["/web"]);
    world.change("/web", |held| held.svid = None);
    assert!(world.missing(now()).is_empty());
}

#[test]
fn who_never_reached_the_control_plane_is_not_ready() {
    let mut world = World::holding(&[]);
    world.link = LinkState::starting(now());
    world.snapshot.bundle = None;
    assert_eq!(
        world.missing(now()),
        [
            "no trust bundle is installed",
            "the control plane is not connected yet: connecting"
        ]
    );
}

#[test]
fn cause_is_told_before_what_it_causes() {
    let paths: Vec<_> = (0..9).map(|n| format!("/w{n}")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let mut world = World::holding(&paths);
    world.presented = (0..17).map(|n| id(&format!("/p{n}"))).collect();
    world.not_installed.clone_from(&world.presented);
    world.disconnect();
    let missing = world.missing(later());
    assert_eq!(missing.len(), MAX_REASONS + 1);
    assert!(missing[0].contains("not connected since"), "{missing:?}");
    assert!(missing[1].contains("/node/a expired"), "{missing:?}");
    // Connection, node, 17 listeners and 9 registrations.
    assert_eq!(missing.last().unwrap(), "and 12 more: `status` lists all");
}

#[test]
fn full_listeners_are_told_and_their_number_is_bounded() {
    let counted: Vec<Counted> = crate::proxy::counters(20, 0);
    assert_eq!(crowded(&counted).count(), 0);
    let hold = |(_, counters): &Counted| {
        let bounds = Bounds {
            total: 1,
            each: 1,
            surplus: Surplus::Refused,
        };
        let places = Places::observed(bounds, counters.connections.clone());
        places.take(Holder::Uid(7)).unwrap()
    };
    let _held: Vec<_> = counted.iter().map(hold).collect();
    let one = "inbound[0]: all 1 places of connections are taken";
    let told: Reasons = crowded(&counted[..1]).collect();
    assert_eq!(told.counted(), [one]);
    let told: Reasons = crowded(&counted).collect();
    assert_eq!(told.counted(), ["listeners that are full: 20"]);
    let told = told.named();
    assert_eq!((&*told[0], told.len()), (one, MAX_REASONS + 1));
}
