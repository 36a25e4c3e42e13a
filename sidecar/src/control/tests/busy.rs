//! Control planes that are slow to answer, as those are to which a whole fleet comes, and those that stand still
//! for a while: nobody who is connected is lost, and nobody comes anew without end.

use std::time::Instant;

use tokio::net::TcpStream;

use super::failover::{connected_to, counted, knowing, start};
use super::relay::{Relay, Way};
use super::*;

/// Whether its stream stays the one that it is for so long.
async fn stays(node: &Node, time: Duration) -> bool {
    let before = node.link.borrow().clone();
    let mut link = node.link.clone();
    let is_left = link.wait_for(|now| !now.connected || now.address != before.address);
    before.connected && tokio::time::timeout(time, is_left).await.is_err()
}

/// Longer than it takes until a silence is one.
const LONG: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn slow_control_plane_is_not_left_for_one_that_is_as_slow() {
    let (plane, folder) = world().await;
    let ways = [
        Relay::before(plane.address).await,
        Relay::before(plane.replica(None)).await,
    ];
    let addresses = ways.each_ref().map(|way| way.address);
    let node = start(knowing(&plane, &folder, &addresses));
    until(|| node.link.borrow().connected).await;
    ways.iter().for_each(|way| way.becomes(Way::Slow));
    let before = ways.each_ref().map(Relay::accepted);
    assert!(stays(&node, 2 * LONG).await);
    let more: usize = ways.iter().map(Relay::accepted).sum();
    let more = more - before.iter().sum::<usize>();
    assert!(more <= 1, "it asked elsewhere {more} times");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standstill_of_the_only_control_plane_left_is_waited_for() {
    let (plane, folder) = world().await;
    let ways = [
        Relay::before(plane.address).await,
        Relay::before(plane.address).await,
    ];
    let [left, dead] = &ways;
    let addresses = ways.each_ref().map(|way| way.address);
    let node = start(knowing(&plane, &folder, &addresses));
    connected_to(&node, left.address).await;
    dead.refuse();
    left.becomes(Way::Frozen);
    let connections = left.accepted();
    assert!(stays(&node, LONG).await);
    left.becomes(Way::Open);
    // What is said now comes over the same connection.
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    node.holds(&web.id).await;
    assert_eq!(left.accepted(), connections);
    node.end().await;
}

/// It would take the control plane longer to greet all of them anew than each of them waits for an answer.
#[tokio::test(flavor = "multi_thread")]
async fn busy_control_plane_keeps_all_that_it_has_and_takes_more() {
    // All of them are one node here, which has so many connections at once and some more.
    const FLEET: usize = 6;
    const STRANGERS: usize = 10;
    let (plane, _) = world().await;
    let near = Relay::before(plane.address).await;
    let dead = Relay::before(plane.address).await;
    dead.refuse();
    let addresses = [near.address, dead.address];
    let mut fleet = Vec::new();
    for number in 0..FLEET {
        let folder = tempfile::tempdir().unwrap();
        plane.admit(&format!("token-{number}"));
        let (node, control) = knowing(&plane, &folder, &addresses);
        let token = folder.path().join("token");
        countersign_serve::secret_file::write(&token, &format!("token-{number}")).unwrap();
        fleet.push((start((node, control)), folder));
    }
    for (node, _) in &fleet {
        connected_to(node, near.address).await;
    }
    let before = near.accepted();
    near.becomes(Way::Busy);
    // Three seconds of work, after which every answer comes.
    let begun = Instant::now();
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(TcpStream::connect(near.address).await.unwrap());
    }
    let mut lost = 0;
    while begun.elapsed() < 2 * LONG {
        sleep(Duration::from_millis(20)).await;
        let is_lost = |node: &Node| !node.link.borrow().connected;
        lost = lost.max(fleet.iter().filter(|(node, _)| is_lost(node)).count());
    }
    assert_eq!(lost, 0, "streams were lost at once");
    assert_eq!(near.accepted(), before + STRANGERS, "nobody came anew");
    for (node, _) in fleet {
        assert!(!counted(&node, "silent"));
        node.end().await;
    }
}
