//! Addresses that a control plane told, and its wish that the sidecar goes to another one.

use std::net::SocketAddr;
use std::time::Instant;

use countersign_proto::convert::addresses::MAX_ADDRESSES;
use countersign_proto::mesh::control_message::Message as FromControl;
use countersign_proto::mesh::{ControlPlanes, Rebalance};
use tonic::Code;

use super::super::session::SPREAD_OVER;
use super::failover::{PROMISED, connected_to, counted, knowing, start};
use super::plane::Fault;
use super::relay::{Relay, Way};
use super::*;

fn uri(address: SocketAddr) -> String {
    format!("https://{address}")
}

fn told(addresses: &[SocketAddr]) -> FromControl {
    let addresses = addresses.iter().copied().map(uri).collect();
    FromControl::ControlPlanes(ControlPlanes { addresses })
}

fn wish(address: SocketAddr) -> FromControl {
    let address = uri(address);
    FromControl::Rebalance(Rebalance { address })
}

/// A push on the stream shows that everything before it has been read.
async fn pushed(plane: &Plane, node: &Node, name: char) {
    let late = right(name, &format!("/late{name}"), 1);
    plane.entitle(&late);
    until(|| node.holdings.load().entries.contains_key(&late.id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_address_takes_over_and_survives_a_restart() {
    let (plane, folder) = world().await;
    let (near, far) = (Relay::before(plane.address).await, plane.replica(None));
    plane.say(told(&[near.address, far]));
    let node = start(knowing(&plane, &folder, &[near.address]));
    let serial = node.holds(&EntitlementId::node()).await;
    connected_to(&node, near.address).await;
    pushed(&plane, &node, '1').await;
    node.holds(&right('1', "/late1", 1).id).await;
    let certified = plane.state().spkis.len();
    near.becomes(Way::Reset);
    connected_to(&node, far).await;
    node.end().await;
    // Nobody wrote it down, and the one that told it is gone.
    near.refuse();
    let since = Instant::now();
    let node = start(knowing(&plane, &folder, &[near.address]));
    connected_to(&node, far).await;
    assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
    assert_eq!(node.holds(&EntitlementId::node()).await, serial);
    assert_eq!(plane.state().tokens_used.len(), 1);
    // Workload keys are in memory alone, so what this process holds anew is one more.
    node.holds(&right('1', "/late1", 1).id).await;
    assert_eq!(plane.state().spkis.len(), certified + 1);
    node.end().await;
}

/// Who tells addresses can neither be believed for it nor take away what the operator wrote: at each of them is
/// somebody else, who answers or says nothing, and each costs a few tries.
#[tokio::test(flavor = "multi_thread")]
async fn lying_addresses_cost_a_few_tries_and_no_configured_one() {
    let (plane, folder) = world().await;
    let foreign = Plane::start_under("foreign").await;
    // It has a certificate of the trust domain, and not that of the control plane.
    let impostor = plane.as_workload();
    let mut lies = vec![Relay::before(foreign.address).await];
    lies.push(Relay::before(impostor).await);
    while lies.len() < MAX_ADDRESSES {
        let silent = Relay::before(plane.address).await;
        silent.becomes(Way::Frozen);
        lies.push(silent);
    }
    let addresses: Vec<_> = lies.iter().map(|it| it.address).collect();
    let near = Relay::before(plane.address).await;
    plane.say(told(&addresses));
    let node = start(knowing(&plane, &folder, &[near.address]));
    node.holds(&EntitlementId::node()).await;
    connected_to(&node, near.address).await;
    pushed(&plane, &node, '1').await;
    for wished in &addresses[..2] {
        plane.say(wish(*wished));
    }
    pushed(&plane, &node, '2').await;
    assert!(node.link.borrow().connected);
    let since = Instant::now();
    near.becomes(Way::Reset);
    until(|| !node.link.borrow().connected).await;
    near.becomes(Way::Open);
    connected_to(&node, near.address).await;
    eprintln!("back at the configured address after {:?}", since.elapsed());
    assert!(since.elapsed() < 2 * PROMISED, "{:?}", since.elapsed());
    pushed(&plane, &node, '3').await;
    let tries = lies.iter().map(Relay::accepted).max();
    assert!(tries <= Some(4), "{tries:?} of one address");
    assert_eq!(
        (foreign.state().streams, foreign.state().tokens_used.len()),
        (0, 0)
    );
    assert_eq!(plane.impostor_streams(), 0);
    // A list that names nobody takes away what was told, and nothing else.
    plane.say(told(&[]));
    pushed(&plane, &node, '4').await;
    near.becomes(Way::Reset);
    until(|| !node.link.borrow().connected).await;
    near.becomes(Way::Open);
    connected_to(&node, near.address).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wish_is_followed_once_a_stream_is_open_elsewhere() {
    let (plane, folder) = world().await;
    let (near, far) = (Relay::before(plane.address).await, plane.replica(None));
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let node = start(knowing(&plane, &folder, &[near.address, far]));
    let held = [
        node.holds(&web.id).await,
        node.holds(&EntitlementId::node()).await,
    ];
    connected_to(&node, near.address).await;
    let certified = plane.state().spkis.len();
    plane.say(wish(far));
    connected_to(&node, far).await;
    assert!(
        counted(&node, "rebalanced"),
        "{:?}",
        node.link.borrow().left
    );
    assert_eq!(plane.state().streams, 2);
    pushed(&plane, &node, '2').await;
    node.holds(&right('2', "/late2", 1).id).await;
    let still = [&web.id, &EntitlementId::node()].map(|id| node.serial(id).unwrap());
    assert_eq!(still, held, "nothing is issued again");
    assert_eq!(plane.state().spkis.len(), certified + 1);
    assert!(node.link.borrow().problem.is_none());
    // Whoever wishes it back at once wishes in vain: not even a connection is tried, which would be by now.
    plane.say(wish(near.address));
    pushed(&plane, &node, '3').await;
    let tried = until(|| near.accepted() > 2);
    let tried = tokio::time::timeout(2 * SPREAD_OVER, tried).await;
    assert!(tried.is_err(), "a wish was followed at once");
    connected_to(&node, far).await;
    assert_eq!(
        (plane.state().streams, near.accepted()),
        (2, 2),
        "attested, and one stream"
    );
    node.end().await;
}

/// The stream that there is goes on, whatever is found at the other address.
#[tokio::test(flavor = "multi_thread")]
async fn wish_for_what_does_not_serve_changes_nothing() {
    for fault in [
        Fault::Refuses(Code::Unavailable),
        Fault::Refuses(Code::DataLoss),
    ] {
        let (plane, folder) = world().await;
        let far = Relay::before(plane.replica(Some(fault))).await;
        let node = start(knowing(&plane, &folder, &[plane.address, far.address]));
        node.holds(&EntitlementId::node()).await;
        connected_to(&node, plane.address).await;
        // One that is known to nobody is not even asked.
        let unknown = Relay::before(plane.address).await;
        plane.say(wish(unknown.address));
        plane.say(wish(far.address));
        until(|| far.accepted() == 1).await;
        pushed(&plane, &node, '1').await;
        assert_eq!((unknown.accepted(), plane.state().streams), (0, 1));
        let link = node.link.borrow().clone();
        assert!(link.connected && link.left.is_none(), "{link:?}");
        node.end().await;
    }
}

/// The other address answers nothing: the old stream serves for as long.
#[tokio::test(flavor = "multi_thread")]
async fn wish_for_silence_changes_nothing() {
    let (plane, folder) = world().await;
    let far = Relay::before(plane.address).await;
    far.becomes(Way::Frozen);
    let node = start(knowing(&plane, &folder, &[plane.address, far.address]));
    node.holds(&EntitlementId::node()).await;
    connected_to(&node, plane.address).await;
    plane.say(wish(far.address));
    until(|| far.accepted() == 1).await;
    for name in ['1', '2', '3'] {
        pushed(&plane, &node, name).await;
    }
    assert_eq!(plane.state().streams, 1);
    assert!(node.link.borrow().connected);
    node.end().await;
}
