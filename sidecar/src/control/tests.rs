//! The control task against a control plane over real TLS.

mod attesting;
mod busy;
mod disk;
mod failover;
mod older;
mod plane;
mod relay;
mod roots;
mod told;
mod unknown;

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_model::{Entitlement, Lifetime, Serial};
use countersign_serve::wire::Tcp;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use self::plane::{NODE, Plane, TOKEN};
use super::*;
use crate::clock;
use crate::config::{ControlPlane, Log, Telemetry, WorkloadApi};
use crate::evidence::JoinToken;
use crate::pki::{Authority, id, node_right, right, serial, trust_domain};
use crate::state::{StateDir, StateError};

const BOUND: Duration = Duration::from_secs(20);

/// One running control task.
struct Node {
    holdings: Arc<Holdings>,
    consumers: Arc<Consumers>,
    served: watch::Sender<Served>,
    link: watch::Receiver<LinkState>,
    metrics: Arc<Metrics>,
    task: JoinHandle<()>,
}

impl Node {
    fn start(plane: &Plane, folder: &TempDir) -> Self {
        let (node, control) = Self::ready(plane, folder);
        Self {
            task: tokio::spawn(control.run()),
            ..node
        }
    }

    /// Not started yet.
    fn ready(plane: &Plane, folder: &TempDir) -> (Self, Control) {
        Self::ready_with(plane, folder, Draws::of_system())
    }

    fn ready_with(plane: &Plane, folder: &TempDir, draws: Draws) -> (Self, Control) {
        Self::configured(&config(plane, folder), draws)
    }

    fn configured(config: &Config, draws: Draws) -> (Self, Control) {
        let holdings = Holdings::new();
        let consumers = Arc::<Consumers>::default();
        let trust = TrustCell::new([].into_iter().collect());
        let state = open_state(&config.state_dir);
        let installer =
            Installer::restore(trust_domain(), state, holdings.clone(), trust.clone()).unwrap();
        let (served, receiver) = watch::channel(Served::new());
        let metrics = Arc::<Metrics>::default();
        let parts = Parts {
            installer,
            holdings: holdings.clone(),
            consumers: consumers.clone(),
            served: receiver,
            trust,
            metrics: metrics.clone(),
            clock: Clock::of_system(),
            draws,
            network: Arc::new(Tcp),
        };
        let control = Control::new(config, parts, clock::now());
        let node = Self {
            holdings,
            consumers,
            served,
            metrics,
            link: control.state(),
            task: tokio::spawn(std::future::ready(())),
        };
        (node, control)
    }

    fn serial(&self, entitlement: &EntitlementId) -> Option<Serial> {
        let snapshot = self.holdings.load();
        Some(snapshot.entries.get(entitlement)?.svid.as_ref()?.serial)
    }

    async fn holds(&self, entitlement: &EntitlementId) -> Serial {
        until(|| self.serial(entitlement).is_some()).await;
        self.serial(entitlement).unwrap()
    }

    async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A child that another test forks holds the lock of a node that has ended, until it is another program.
fn open_state(path: &std::path::Path) -> StateDir {
    let began = std::time::Instant::now();
    loop {
        match StateDir::open(path) {
            Err(StateError::InUse(_)) if began.elapsed() < BOUND => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn config(plane: &Plane, folder: &TempDir) -> Config {
    let file = |name: &str| folder.path().join(name);
    if !file("bundle.pem").exists() {
        std::fs::write(file("bundle.pem"), plane.authority.bundle().to_pem()).unwrap();
        countersign_serve::secret_file::write(&file("token"), &format!("  {TOKEN}\n")).unwrap();
    }
    Config {
        trust_domain: trust_domain(),
        state_dir: file("state"),
        drain_timeout: Duration::ZERO,
        control_plane: ControlPlane {
            addresses: vec![format!("https://{}", plane.address).parse().unwrap()],
            bundle: Some(file("bundle.pem")),
        },
        attestation: Arc::new(JoinToken {
            token_file: file("token"),
        }),
        workload_api: WorkloadApi {
            socket: file("sidecar.sock"),
            enrol_ahead: 2,
            max_strangers: 8,
            max_connections_per_uid: 8,
        },
        telemetry: Telemetry {
            listen: "127.0.0.1:0".parse().unwrap(),
            otlp_endpoint: None,
            identity_labels: false,
            hosts: Vec::new(),
        },
        log: Log {
            json: Some(true),
            filter: "info".to_owned(),
        },
        inbound: Vec::new(),
        outbound: Vec::new(),
    }
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(BOUND, wait).await.expect("in time");
}

async fn world() -> (Plane, TempDir) {
    (Plane::start().await, tempfile::tempdir().unwrap())
}

#[tokio::test]
async fn a_token_becomes_credentials() {
    let (plane, folder) = world().await;
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    node.holds(&web.id).await;
    node.holds(&EntitlementId::node()).await;
    let snapshot = node.holdings.load();
    assert_eq!(
        snapshot.bundle.as_ref().unwrap().roots(),
        [plane.authority.root()]
    );
    assert_eq!(
        snapshot.entries[&web.id].svid.as_ref().unwrap().id,
        id("/web")
    );
    assert_eq!(plane.state().nacks, 0);
}

#[tokio::test]
async fn a_busy_control_plane_is_left_alone() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    node.holds(&EntitlementId::node()).await;
    plane.turn_away(Some("400"));
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let asked = || plane.state().asked;
    until(|| asked().len() == 3).await;
    plane.turn_away(None);
    node.holds(&web.id).await;
    let asked = asked();
    let waits = asked.windows(2).map(|two| two[1] - two[0]);
    assert!(waits.min() >= Some(Duration::from_millis(400)), "{asked:?}");
}

#[tokio::test]
async fn what_is_due_together_is_enrolled_in_one_call() {
    let (plane, folder) = world().await;
    let (web, late) = (right('1', "/web", 1), right('2', "/late", 2));
    plane.entitle(&web);
    plane.entitle(&late);
    let node = Node::start(&plane, &folder);
    node.holds(&web.id).await;
    node.holds(&late.id).await;
    assert_eq!(plane.state().calls, [2]);
}

#[tokio::test]
async fn a_refused_key_harms_no_other_of_its_call() {
    let (plane, folder) = world().await;
    let (web, late) = (right('1', "/web", 1), right('2', "/late", 2));
    plane.refuse(&web.id);
    plane.entitle(&web);
    plane.entitle(&late);
    let node = Node::start(&plane, &folder);
    node.holds(&late.id).await;
    let problem = || node.holdings.load().entries[&web.id].problem.clone();
    until(|| problem().is_some_and(|why| why.contains("not this one"))).await;
    assert_eq!(plane.state().calls.first(), Some(&2));
}

#[tokio::test]
async fn denied_key_gives_way_to_a_fresh_one() {
    let (plane, folder) = world().await;
    let web = right('1', "/web", 1);
    plane.refuse(&web.id);
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    until(|| !plane.state().denied.is_empty()).await;
    plane.refuse_known_keys_only();
    node.holds(&web.id).await;
}

#[tokio::test]
async fn a_lost_answer_is_no_problem_of_what_came_before_it() {
    let (plane, folder) = world().await;
    let (web, late) = (right('1', "/web", 1), right('2', "/late", 2));
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    let first = node.holds(&web.id).await;
    plane.hold_answers(true);
    plane.entitle(&Entitlement {
        min_key_epoch: 1,
        ..web.clone()
    });
    plane.entitle(&late);
    until(|| node.serial(&web.id) != Some(first)).await;
    assert_eq!(plane.state().calls.last(), Some(&2));
    plane.hold_answers(false);
    // What is not here yet has a problem until it is asked for again.
    let problem = |id: &EntitlementId| node.holdings.load().entries[id].problem.clone();
    until(|| problem(&late.id).is_some()).await;
    assert_eq!(problem(&web.id), None);
    node.holds(&late.id).await;
}

#[tokio::test]
async fn a_restart_needs_no_token() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    let serial = node.holds(&EntitlementId::node()).await;
    node.end().await;
    std::fs::remove_file(folder.path().join("token")).unwrap();
    std::fs::remove_file(folder.path().join("bundle.pem")).unwrap();
    let again = Node::start(&plane, &folder);
    assert_eq!(again.holds(&EntitlementId::node()).await, serial);
    until(|| again.link.borrow().connected).await;
}

#[tokio::test]
async fn a_used_token_is_told_in_status() {
    let (plane, folder) = world().await;
    let first = Node::start(&plane, &folder);
    first.holds(&EntitlementId::node()).await;
    let other = tempfile::tempdir().unwrap();
    let thief = Node::start(&plane, &other);
    let refused = |link: &LinkState| {
        let problem = link.problem.as_deref();
        problem.is_some_and(|why| why.contains("attestation refused"))
    };
    until(|| refused(&thief.link.borrow())).await;
    assert!(!thief.link.borrow().ever);
}

#[tokio::test]
async fn waits_are_spread_by_the_draws_that_are_passed_in() {
    let waits = async || {
        let (plane, folder) = world().await;
        let mut random = fastrand::Rng::with_seed(7);
        let draws = Draws::new(move || random.f64());
        let (_node, mut control) = Node::ready_with(&plane, &folder, draws);
        let now = Instant::now();
        let closed = || ControlError::Session(SessionError::Closed);
        let waits = (0..5).map(|_| control.wait_after(&closed(), now));
        waits.collect::<Vec<_>>()
    };
    let (one, other) = (waits().await, waits().await);
    assert_eq!(one, other);
    assert!(one.windows(2).all(|pair| pair[0] != pair[1]), "{one:?}");
}

/// Stores a node credential that began an hour ago and ends so many seconds from now.
fn store_credential(plane: &Plane, folder: &TempDir, ends_in_secs: i64) -> Serial {
    let svid = plane.authority.svid(&id(NODE), serial(0x77));
    let mut svid = Arc::into_inner(svid).unwrap();
    let at = |secs| clock::now() + jiff::SignedDuration::from_secs(secs);
    svid.lifetime = Lifetime {
        issued_at: at(-3_600),
        not_after: at(ends_in_secs),
    };
    let serial = svid.serial;
    let state = open_state(&config(plane, folder).state_dir);
    let bundle = plane.authority.bundle();
    let stored = crate::state::StoredBundle {
        bundle,
        resource_version: None,
        retired: Some(Vec::new()),
    };
    state.store_bundle(&stored).unwrap();
    let svid = Arc::new(svid);
    let node = crate::state::NodeCredential { svid, key_epoch: 0 };
    state.store_node(&node).unwrap();
    serial
}

#[tokio::test]
async fn an_expired_node_without_a_token_says_so() {
    let (plane, folder) = world().await;
    store_credential(&plane, &folder, -60);
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let node = Node::start(&plane, &folder);
    let told = |link: &LinkState| {
        let problem = link.problem.as_deref().unwrap_or_default();
        problem.contains("the node's credential expired at") && problem.contains("token")
    };
    until(|| told(&node.link.borrow())).await;
    assert_eq!(plane.state().streams, 0);
    // A token that is put there is taken at the next try.
    countersign_serve::secret_file::write(&folder.path().join("token"), TOKEN).unwrap();
    until(|| node.link.borrow().connected).await;
}

#[tokio::test]
async fn an_expired_node_attests_with_a_new_token() {
    let (plane, folder) = world().await;
    let old = store_credential(&plane, &folder, -60);
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    assert_ne!(node.holds(&EntitlementId::node()).await, old);
    node.holds(&web.id).await;
}

#[tokio::test]
async fn a_redial_with_a_renewed_credential_loses_nothing() {
    let (plane, folder) = world().await;
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    // More than three quarters of its life are over: it is renewed, and the connection with it.
    let old = store_credential(&plane, &folder, 600);
    let node = Node::start(&plane, &folder);
    let serial = node.holds(&web.id).await;
    until(|| {
        node.serial(&EntitlementId::node())
            .is_some_and(|s| s != old)
    })
    .await;
    until(|| plane.state().streams == 2).await;
    // What is pushed after the change arrives, what was held is held, and nothing was refused.
    let late = right('2', "/late", 1);
    plane.entitle(&late);
    node.holds(&late.id).await;
    assert_eq!(node.serial(&web.id), Some(serial));
    assert_eq!((plane.state().streams, plane.state().nacks), (2, 0));
    let link = node.link.borrow();
    assert!(link.connected && link.problem.is_none());
}

#[tokio::test]
async fn a_stream_that_was_taken_over_stays_away() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    node.holds(&EntitlementId::node()).await;
    plane.take_streams_over().await;
    let told = |link: &LinkState| {
        let problem = link.problem.as_deref().unwrap_or_default();
        problem.contains("another sidecar took the stream over")
    };
    until(|| told(&node.link.borrow())).await;
    assert_eq!(plane.state().streams, 1);
}

#[tokio::test]
async fn two_sidecars_of_one_node_take_no_turns() {
    let (plane, folder) = world().await;
    let (_node, mut control) = Node::ready(&plane, &folder);
    let over = ControlError::Session(tonic::Status::aborted("taken over").into());
    for _ in 0..20 {
        control.opened();
        assert!(control.wait_after(&over, Instant::now()) >= crate::backoff::REPLACED / 2);
    }
}

#[tokio::test]
async fn a_stream_that_ends_at_once_earns_a_growing_wait() {
    let (plane, folder) = world().await;
    let (_node, mut control) = Node::ready(&plane, &folder);
    for failures in 1..10 {
        control.opened();
        control.wait_after(&ControlError::Session(SessionError::Closed), Instant::now());
        assert_eq!(control.backoff.failures(), failures);
    }
}

#[tokio::test]
async fn a_chain_that_overtakes_its_bundle_is_installed_after_it() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    until(|| node.link.borrow().connected).await;
    let next = Arc::new(Authority::new("next"));
    plane.sign_with(&next);
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let problem = || {
        let snapshot = node.holdings.load();
        snapshot.entries.get(&web.id)?.problem.clone()
    };
    until(|| problem().is_some_and(|why| why.contains("refused"))).await;
    assert_eq!(node.serial(&web.id), None);
    plane.publish_bundle(&[&plane.authority, &next]);
    node.holds(&web.id).await;
    assert_eq!(problem(), None);
}

#[tokio::test]
async fn a_push_reaches_what_is_held() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    until(|| node.link.borrow().connected).await;
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    node.holds(&web.id).await;
    plane.remove(&web.id);
    until(|| !node.holdings.load().entries.contains_key(&web.id)).await;
    // Registered again under the same name: a fresh key is certified.
    plane.entitle(&web);
    node.holds(&web.id).await;
}

#[tokio::test]
async fn a_raised_epoch_renews_with_a_fresh_key() {
    let (plane, folder) = world().await;
    let mut web = right('1', "/web", 1);
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    let mut serials = BTreeSet::from([node.holds(&web.id).await]);
    for epoch in 1..=5 {
        web.min_key_epoch = epoch;
        plane.entitle(&web);
        until(|| node.serial(&web.id).is_some_and(|s| !serials.contains(&s))).await;
        serials.extend(node.serial(&web.id));
    }
    let state = plane.state();
    let keys: BTreeSet<_> = state.spkis.iter().collect();
    assert_eq!(keys.len(), state.spkis.len(), "every key is certified once");
    assert_eq!(state.nacks, 0);
}

#[tokio::test]
async fn epoch_that_goes_back_renews_once() {
    let (plane, folder) = world().await;
    let (mut web, mut late) = (right('1', "/web", 1), right('2', "/late", 2));
    web.min_key_epoch = 5;
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    let first = node.holds(&web.id).await;
    let certified = || plane.state().spkis.len();
    let before = certified();
    // The state of a backup.
    web.min_key_epoch = 2;
    plane.entitle(&web);
    until(|| node.serial(&web.id) != Some(first)).await;
    let second = node.serial(&web.id);
    // A push shows that everything before it has been judged.
    plane.entitle(&late);
    node.holds(&late.id).await;
    assert_eq!((certified(), node.serial(&web.id)), (before + 2, second));

    let own = node.serial(&EntitlementId::node());
    node.end().await;
    let node = Node::start(&plane, &folder);
    let (third, old) = (node.holds(&web.id).await, node.holds(&late.id).await);
    late.min_key_epoch = 7;
    plane.entitle(&late);
    until(|| node.serial(&late.id).is_some_and(|new| new != old)).await;
    assert_eq!(certified(), before + 5, "both keys anew, and the change");
    assert_eq!(node.serial(&web.id), Some(third));
    assert_eq!(node.serial(&EntitlementId::node()), own);
}

#[tokio::test]
async fn the_node_renews_its_own_credential() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    let old = node.holds(&EntitlementId::node()).await;
    let mut own = node_right(NODE);
    own.min_key_epoch = 1;
    plane.entitle(&own);
    until(|| node.serial(&EntitlementId::node()) != Some(old)).await;
    let new = node.holds(&EntitlementId::node()).await;
    node.end().await;
    let again = Node::start(&plane, &folder);
    assert_eq!(
        again.holds(&EntitlementId::node()).await,
        new,
        "it was stored"
    );
}

#[tokio::test]
async fn a_reconnect_resends_nothing() {
    let (plane, folder) = world().await;
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    let serial = node.holds(&web.id).await;
    let before = plane.state();
    plane.end_streams();
    until(|| plane.state().streams > before.streams).await;
    // A push on the new stream shows that everything before it has been said.
    let late = right('2', "/late", 1);
    plane.entitle(&late);
    node.holds(&late.id).await;
    assert_eq!(plane.state().resources_sent, before.resources_sent + 2);
    assert_eq!(node.serial(&web.id), Some(serial));
}

#[tokio::test]
async fn demand_enrols_beyond_the_cap() {
    let (plane, folder) = world().await;
    for name in ['1', '2', '3'] {
        plane.entitle(&right(name, &format!("/w{name}"), 1));
    }
    let node = Node::start(&plane, &folder);
    node.holds(&right('1', "/w1", 1).id).await;
    let beyond = right('3', "/w3", 1).id;
    assert_eq!(node.serial(&beyond), None);
    node.holdings.demand(&beyond);
    node.holds(&beyond).await;
}

#[tokio::test]
async fn a_new_root_is_trusted_and_reported() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    until(|| node.link.borrow().connected).await;
    let standby = Authority::new("standby");
    plane.publish_bundle(&[&plane.authority, &standby]);
    let roots = || {
        node.holdings
            .load()
            .bundle
            .as_ref()
            .map_or(0, |b| b.roots().len())
    };
    until(|| roots() == 2).await;
    node.consumers.update(
        "envoy",
        || crate::consumers::Consumer {
            kind: crate::consumers::ConsumerKind::Envoy,
            resource: Some("ROOTCA".to_owned()),
            bundle_version: None,
            delivered_at: None,
            connected: true,
            credential_not_after: None,
            serials: vec![serial(7)],
        },
        |consumer| consumer.bundle_version = Some("seen".to_owned()),
    );
    let reported = || {
        let report = plane.state().consumers?;
        let envoy = report.consumers.into_iter().find(|c| c.id == "envoy")?;
        Some((envoy.bundle_version, envoy.serials))
    };
    let expected = ("seen".to_owned(), vec![serial(7).as_bytes().to_vec()]);
    until(|| reported() == Some(expected.clone())).await;
}

#[tokio::test]
async fn a_served_serial_is_reported_once() {
    let (plane, folder) = world().await;
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    let serial = node.holds(&web.id).await;
    let note = || {
        node.served.send_modify(|served| {
            served.insert(web.id.clone(), (serial, clock::now()));
        });
    };
    note();
    until(|| plane.state().served.len() == 1).await;
    let report = plane.state().served.remove(0);
    assert_eq!(report.serial, serial.as_bytes());
    assert_eq!(report.entitlement, web.id.as_str());
}

#[tokio::test]
async fn failed_handshakes_are_told_now_and_then() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    let told = || plane.state().failures;
    let fail = |times| (0..times).for_each(|_| node.metrics.certificate_refused());
    until(|| told() == [0]).await;
    // A peer that fails all the time.
    until(|| {
        fail(1);
        told().len() == 2
    })
    .await;
    fail(100);
    assert_eq!(told().len(), 2, "{:?}", told());
    assert!(told()[1] > 0, "{:?}", told());
}
