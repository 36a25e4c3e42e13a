//! A sidecar that knows several control planes, and what becomes of the one that it is connected to.

use std::net::SocketAddr;
use std::time::Instant;

use tonic::Code;

use super::plane::Fault;
use super::relay::{Relay, Way};
use super::*;

/// Two seconds are promised; a machine on which other tests run may need longer.
pub(super) const PROMISED: Duration = Duration::from_secs(4);

/// With these addresses, in this order.
pub(super) fn knowing(
    plane: &Plane,
    folder: &TempDir,
    addresses: &[SocketAddr],
) -> (Node, Control) {
    let mut config = config(plane, folder);
    let uri = |at: &SocketAddr| format!("https://{at}").parse().unwrap();
    config.control_plane.addresses = addresses.iter().map(uri).collect();
    Node::configured(&config, Draws::new(|| 1.0))
}

pub(super) fn start((node, control): (Node, Control)) -> Node {
    Node {
        task: tokio::spawn(control.run()),
        ..node
    }
}

pub(super) async fn connected_to(node: &Node, address: SocketAddr) {
    let wanted = Some(format!("https://{address}"));
    until(|| node.link.borrow().address == wanted).await;
}

pub(super) fn counted(node: &Node, reason: &str) -> bool {
    let text = node.metrics.encode(&node.holdings.load(), clock::now());
    let line = format!("countersign_control_failovers_total{{reason=\"{reason}\"}} 1");
    text.contains(&line)
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_control_plane_is_replaced_within_seconds() {
    for (way, reason) in [
        (Way::Frozen, "silent"),
        (Way::Mute, "silent"),
        (Way::Deaf, "silent"),
        (Way::Reset, "broken"),
    ] {
        let (plane, folder) = world().await;
        let web = right('1', "/web", 1);
        plane.entitle(&web);
        let (near, far) = (Relay::before(plane.address).await, plane.replica(None));
        let node = start(knowing(&plane, &folder, &[near.address, far]));
        let serials = [
            node.holds(&web.id).await,
            node.holds(&EntitlementId::node()).await,
        ];
        connected_to(&node, near.address).await;
        let certified = plane.state().spkis.len();
        let since = Instant::now();
        near.becomes(way);
        connected_to(&node, far).await;
        let took = since.elapsed();
        eprintln!("{way:?}: {took:?} from the fault to the stream at the other address");
        assert!(took < PROMISED, "{way:?}: {took:?}");
        // A push on the new stream shows that everything before it has been said.
        let late = right('2', "/late", 1);
        plane.entitle(&late);
        node.holds(&late.id).await;
        let held = [&web.id, &EntitlementId::node()].map(|id| node.serial(id).unwrap());
        assert_eq!(held, serials, "nothing is issued again");
        assert_eq!(plane.state().spkis.len(), certified + 1);
        let left = node.link.borrow().left.clone().unwrap();
        assert!(left.address.contains(&near.address.to_string()), "{left:?}");
        assert!(counted(&node, reason), "{way:?}: {left:?}");
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_and_silent_addresses_hide_no_good_one() {
    let (plane, folder) = world().await;
    let (refusing, frozen) = (
        Relay::before(plane.address).await,
        Relay::before(plane.address).await,
    );
    refusing.refuse();
    frozen.becomes(Way::Frozen);
    let addresses = [frozen.address, refusing.address, plane.address];
    let since = Instant::now();
    let node = start(knowing(&plane, &folder, &addresses));
    connected_to(&node, plane.address).await;
    assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
    // The attestation found them, and the stream came after it.
    assert_eq!(frozen.accepted(), 1, "it is not tried again at once");
    assert_eq!(plane.state().tokens_used.len(), 1);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_plane_that_cannot_serve_is_passed_by() {
    for (code, reason) in [
        (Code::Unavailable, "unavailable"),
        (Code::Unauthenticated, "refused"),
        (Code::DataLoss, "older"),
    ] {
        let (plane, folder) = world().await;
        // It has a credential, which another control plane of the trust domain knows, and a token
        // that it does not need.
        let node = Node::start(&plane, &folder);
        let serial = node.holds(&EntitlementId::node()).await;
        node.end().await;
        let token = folder.path().join("token");
        countersign_serve::secret_file::write(&token, plane::NEW_TOKEN).unwrap();
        let behind = plane.replica(Some(Fault::Refuses(code)));
        let node = start(knowing(&plane, &folder, &[behind, plane.address]));
        connected_to(&node, plane.address).await;
        assert_eq!(node.holds(&EntitlementId::node()).await, serial);
        assert_eq!(
            plane.state().spkis.len(),
            1,
            "{code:?}: it is not attested anew"
        );
        assert!(
            counted(&node, reason),
            "{code:?}: {:?}",
            node.link.borrow().left
        );
        node.end().await;
    }
}

/// It has no store, its clock is ahead of what nodes hold, or it waits for its store.
#[tokio::test(flavor = "multi_thread")]
async fn control_plane_that_does_not_certify_is_left_for_another() {
    for fault in [
        Fault::CertifiesNothing(Code::Unavailable),
        Fault::CertifiesNothing(Code::Unauthenticated),
        Fault::AnswersNoEnrolment,
    ] {
        let (plane, folder) = world().await;
        let web = right('1', "/web", 1);
        plane.entitle(&web);
        let faulty = plane.replica(Some(fault));
        let node = start(knowing(&plane, &folder, &[faulty, plane.address]));
        node.holds(&web.id).await;
        connected_to(&node, plane.address).await;
        assert!(counted(&node, "unavailable"), "{fault:?}");
        node.end().await;
    }
}

/// What it certifies is given up with its key, for which another would show the same certificate.
#[tokio::test(flavor = "multi_thread")]
async fn control_plane_whose_clock_is_behind_is_left_for_another() {
    let (plane, folder) = world().await;
    let web = right('1', "/web", 1);
    // Its own certificate is from the one whose clock is right.
    let node = Node::start(&plane, &folder);
    node.holds(&EntitlementId::node()).await;
    node.end().await;
    plane.entitle(&web);
    let behind = plane.replica(Some(Fault::IsBehind));
    let node = start(knowing(&plane, &folder, &[behind, plane.address]));
    node.holds(&web.id).await;
    connected_to(&node, plane.address).await;
    assert!(counted(&node, "unavailable"));
    let spkis = plane.state().spkis;
    let keys: BTreeSet<_> = spkis.iter().collect();
    assert_eq!(keys.len(), spkis.len(), "every key is certified once");
    node.end().await;
}

/// Where none has its store, a sidecar keeps the stream that it has.
#[tokio::test(flavor = "multi_thread")]
async fn streams_stay_where_no_control_plane_certifies() {
    let (plane, folder) = world().await;
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let without = [(); 2].map(|()| plane.replica(Some(Fault::CertifiesNothing(Code::Unavailable))));
    let node = start(knowing(&plane, &folder, &without));
    connected_to(&node, without[1]).await;
    let asked = plane.state().asked.len();
    until(|| plane.state().asked.len() >= asked + 2).await;
    assert_eq!(plane.state().streams, 2);
    connected_to(&node, without[1]).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stranger_at_one_address_holds_nobody_away() {
    let (plane, folder) = world().await;
    let foreign = Plane::start_under("foreign").await;
    let addresses = [foreign.address, plane.address];
    let node = start(knowing(&plane, &folder, &addresses));
    node.holds(&EntitlementId::node()).await;
    connected_to(&node, plane.address).await;
    let unreached = node.link.borrow().unreached.clone();
    assert!(unreached.len() <= 1, "{unreached:?}");
    assert_eq!(foreign.state().streams, 0);
    assert!(foreign.state().tokens_used.is_empty(), "it saw no token");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_plane_that_hangs_up_holds_nobody_away() {
    let (plane, folder) = world().await;
    let broken = Relay::before(plane.replica(Some(Fault::HangsUp))).await;
    let node = start(knowing(&plane, &folder, &[broken.address, plane.address]));
    connected_to(&node, plane.address).await;
    let late = right('1', "/late", 1);
    plane.entitle(&late);
    node.holds(&late.id).await;
    assert!(broken.accepted() <= 2, "attested there, and one stream");
    assert!(counted(&node, "ended"));
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_attestation_is_repeated_elsewhere_with_the_same_key() {
    let (plane, folder) = world().await;
    let losing = plane.replica(Some(Fault::LosesAttestations));
    let node = start(knowing(&plane, &folder, &[losing, plane.address]));
    node.holds(&EntitlementId::node()).await;
    let keys: BTreeSet<_> = plane.state().spkis.into_iter().collect();
    assert_eq!((keys.len(), plane.state().tokens_used.len()), (1, 1));
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credential_that_no_control_plane_knows_is_attested_anew() {
    let (plane, folder) = world().await;
    let other = plane.replica(None);
    let node = start(knowing(&plane, &folder, &[plane.address, other]));
    let first = node.holds(&EntitlementId::node()).await;
    until(|| node.link.borrow().connected).await;
    let token = folder.path().join("token");
    countersign_serve::secret_file::write(&token, plane::NEW_TOKEN).unwrap();
    plane.evict();
    until(|| node.serial(&EntitlementId::node()) != Some(first)).await;
    until(|| node.link.borrow().connected).await;
    node.end().await;
}

/// A fleet that finds no control plane is no flood for what stands at their addresses.
#[tokio::test(flavor = "multi_thread")]
async fn rounds_in_which_all_fail_are_spaced() {
    let (plane, folder) = world().await;
    let ways = [
        Relay::before(plane.address).await,
        Relay::before(plane.address).await,
    ];
    let node = start(knowing(
        &plane,
        &folder,
        &ways.each_ref().map(|way| way.address),
    ));
    until(|| node.link.borrow().connected).await;
    ways.iter().for_each(|way| way.becomes(Way::Reset));
    until(|| !node.link.borrow().connected).await;
    let before: usize = ways.iter().map(Relay::accepted).sum();
    sleep(Duration::from_secs(2)).await;
    let after: usize = ways.iter().map(Relay::accepted).sum();
    // Waits of 200, 200, 400 and 800 ms, and two addresses each time.
    assert!(after - before <= 10, "{} attempts", after - before);
    ways.iter().for_each(|way| way.becomes(Way::Open));
    until(|| node.link.borrow().connected).await;
    node.end().await;
}

/// A connection that was replaced ended by itself: what is not reached after it says nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn address_before_is_not_blamed_for_a_failed_dial() {
    let (plane, folder) = world().await;
    let nobody = Relay::before(plane.address).await;
    nobody.refuse();
    let (node, mut control) = knowing(&plane, &folder, &[nobody.address]);
    control.reached = Some(ReachedAddress {
        uri: "https://before".parse().unwrap(),
        address: "https://before".to_owned(),
        unreached: Vec::new(),
    });
    control.opened();
    let error = control.dial(None).await.unwrap_err();
    control.leave(departure(&error), error.to_string());
    assert_eq!(node.link.borrow().left, None);
}
