//! Users who have as many uids as they like: those who may have nothing, and those of one gid or program.

use std::time::Duration;

use countersign_model::{Selector, SelectorSet};
use countersign_serve::Limits;
use countersign_serve::limits::{CALL_BYTES, KEEPALIVE_INTERVAL};

use super::*;
use crate::local_api::STRANGERS;
use crate::local_api::harness::{
    Crowd, by_program, channel_over, crowd, of_group, program, strangers,
};

/// As subordinate uids are handed out.
const FIRST: u32 = 100_000;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What one uid of them may hold, and how many of them may hold so much.
const MOST: usize = STRANGERS.each;
const MANY: u32 = 4;
const _: () = assert!(MANY as usize * MOST == STRANGERS.total);

fn few() -> Limits {
    Limits {
        max_connections: 16,
        max_strangers: 4,
        ..Limits::default()
    }
}

/// Places that are taken: of recognised users, and of strangers.
fn open(node: &Node) -> (usize, usize) {
    let counters = &node.counters;
    (counters.connections.open(), counters.strangers.open())
}

/// More users than there are places, each greeted.
async fn flood(node: &Node) -> Vec<UnixStream> {
    let mut flood = strangers(&node.socket(), FIRST..FIRST + 40, 2).await;
    for stranger in &mut flood {
        // Those that came first are cut already.
        let _ = stranger.write_all(PREFACE).await;
    }
    flood
}

/// As few for one user, and room for many strangers who are to be judged.
fn few_of_one() -> Limits {
    Limits {
        max_connections_per_uid: 4,
        max_strangers: 128,
        ..few()
    }
}

/// Of a crowd that is admitted by one gid or program: what one user may have, and the others of it.
async fn have_the_share_of_one(node: &Node, mut crowd: Crowd, others: usize) {
    for user in &mut crowd.connections {
        // Whoever found no place is refused already.
        let _ = user.write_all(PREFACE).await;
    }
    until(|| node.counters.served.value() + node.counters.refused.value() == 80).await;
    until(|| open(node) == (4, others)).await;
    let (_, serial) = node.hold(entitlement("/web", ours(), 1));
    let mut envoys = Vec::new();
    for _ in 0..3 {
        envoys.push(served(node.channel().await, serial).await);
    }
    assert_eq!(open(node), (7, others));
}

#[tokio::test]
async fn uids_of_one_gid_have_the_share_of_one() {
    let node = Node::start_within(few_of_one()).await;
    node.hold(entitlement("/db", of_group(4_000), 1));
    let crowd = crowd(&node.socket(), FIRST..FIRST + 40, Some(4_000), 2).await;
    have_the_share_of_one(&node, crowd, 0).await;
    assert_eq!(node.counters.refused.value(), 76);
}

#[tokio::test]
async fn uids_that_run_one_program_have_the_share_of_one() {
    let node = Node::start_within(few_of_one()).await;
    let program = SelectorSet::new([Selector::UnixPath(program())]).unwrap();
    node.hold(entitlement("/db", program, 1));
    let crowd = crowd(&node.socket(), FIRST..FIRST + 40, None, 2).await;
    have_the_share_of_one(&node, crowd, 76).await;
}

#[tokio::test]
async fn a_program_of_one_uid_needs_no_place_of_its_gid() {
    let node = Node::start_within(few_of_one()).await;
    let gid = rustix::process::getegid().as_raw();
    node.hold(entitlement("/db", of_group(gid), 1));
    let selectors = [ours(), by_program()];
    let selectors = SelectorSet::new(selectors.iter().flat_map(SelectorSet::iter).cloned());
    let (_, serial) = node.hold(entitlement("/web", selectors.unwrap(), 1));
    let crowd = crowd(&node.socket(), FIRST..FIRST + 40, Some(gid), 2).await;
    until(|| node.counters.refused.value() == 76).await;
    let _envoy = served(node.channel().await, serial).await;
    assert_eq!(open(&node), (5, 0));
    drop(crowd);
}

/// The registration of each uid is replaced by one of their gid.
#[tokio::test]
async fn uids_that_a_gid_admits_later_share_from_then_on() {
    let node = Node::start_within(few_of_one()).await;
    let uids = FIRST..FIRST + 6;
    let each = uids.clone().map(|uid| {
        let selectors = SelectorSet::new([Selector::UnixUid(uid)]).unwrap();
        node.hold(entitlement(&format!("/{uid}"), selectors, 1)).0
    });
    let ids: Vec<_> = each.collect();
    let mut users = crowd(&node.socket(), uids, Some(4_000), 1).await;
    for user in &mut users.connections {
        user.write_all(PREFACE).await.unwrap();
    }
    until(|| open(&node) == (6, 0)).await;
    node.hold(entitlement("/db", of_group(4_000), 1));
    ids.iter().for_each(|id| node.remove(id));
    // The next use of each, as a ping is.
    for user in &mut users.connections {
        user.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0]).await.unwrap();
        user.write_all(&[0; 8]).await.unwrap();
    }
    until(|| open(&node) == (4, 2)).await;
}

async fn served(channel: Channel, serial: impl ToString) -> Envoy {
    let mut envoy = Envoy::subscribe(channel, &[WEB]).await;
    assert_eq!(envoy.accept().await.version_info, serial.to_string());
    envoy
}

#[tokio::test]
async fn subordinate_uids_take_no_place_of_a_registered_user() {
    let node = Node::start_within(few()).await;
    let (_, serial) = node.hold(entitlement("/web", ours(), 1));
    let _flood = flood(&node).await;
    let mut envoys = Vec::new();
    for _ in 0..4 {
        envoys.push(served(node.channel().await, serial).await);
    }
    assert_eq!(open(&node), (4, 4));
    assert_eq!(node.counters.refused.value(), 0);
}

#[tokio::test]
async fn a_program_is_recognised_before_a_byte_is_read() {
    let node = Node::start_within(few()).await;
    let (_, serial) = node.hold(entitlement("/web", by_program(), 1));
    let _flood = flood(&node).await;
    // Nothing is left for strangers to hold.
    let all = (FIRST..FIRST + MANY).map(|uid| node.api.strangers_hold(uid, MOST));
    let all: Vec<_> = all.map(Option::unwrap).collect();
    assert!(node.api.strangers_hold(FIRST + MANY, 1).is_none());
    let _envoy = served(node.channel().await, serial).await;
    assert_eq!(open(&node).0, 1);
    drop(all);
}

#[tokio::test]
async fn a_stranger_that_waits_is_served_once_it_is_registered() {
    let node = Node::start_within(few()).await;
    node.hold(entitlement("/db", theirs(), 1));
    let mut envoy = Envoy::subscribe(node.channel().await, &[WEB]).await;
    until(|| open(&node) == (0, 1)).await;
    assert!(node.api.strangers_held() > 0);
    let (id, serial) = node.hold(entitlement("/web", ours(), 2));
    assert_eq!(envoy.accept().await.version_info, serial.to_string());
    assert_eq!(open(&node), (1, 0));
    assert_eq!(node.api.strangers_held(), 0, "others pay for it now");
    let _flood = flood(&node).await;
    let next = node.renew(&id);
    assert_eq!(envoy.accept().await.version_info, next.to_string());
}

#[tokio::test]
async fn a_registration_that_ends_makes_a_stranger() {
    let node = Node::start_within(few()).await;
    let (id, serial) = node.hold(entitlement("/web", ours(), 1));
    let _envoy = served(node.channel().await, serial).await;
    assert_eq!(open(&node), (1, 0));
    node.remove(&id);
    until(|| open(&node) == (0, 1)).await;
}

/// A restart while the control plane is away: nobody can be told from a stranger.
#[tokio::test]
async fn users_are_strangers_until_rights_are_known() {
    let node = Node::start_within(few()).await;
    let (id, _) = node.hold(entitlement("/web", ours(), 1));
    let entries = node.holdings.load().entries.clone();
    node.forget_everything();
    let mut envoy = Envoy::subscribe(node.channel().await, &[WEB]).await;
    until(|| open(&node) == (0, 1)).await;
    node.holdings.publish(|snapshot| snapshot.entries = entries);
    node.learn();
    let serial = node.renew(&id);
    while envoy.accept().await.version_info != serial.to_string() {}
    assert_eq!(open(&node), (1, 0));
    assert_eq!(node.api.strangers_held(), 0, "its user pays for it now");
}

/// All streams of an Envoy with a thousand secrets fit, and only as long as nobody can tell.
#[tokio::test]
async fn strangers_hold_less_once_rights_are_known() {
    let node = Node::start().await;
    let envoy = 1_000 * (CALL_BYTES + 1024);
    assert!(node.api.strangers_hold(FIRST, envoy).is_none());
    node.forget_everything();
    assert!(node.api.strangers_hold(FIRST, envoy).is_some());
    node.learn();
    assert!(node.api.strangers_hold(FIRST, envoy).is_none());
}

#[tokio::test]
async fn the_stranger_who_holds_most_bytes_gives_way() {
    let node = Node::start_within(few()).await;
    node.hold(entitlement("/db", theirs(), 1));
    let mut greedy = strangers(&node.socket(), FIRST..FIRST + 1, 1).await;
    until(|| open(&node) == (0, 1)).await;
    let most = node.api.strangers_hold(FIRST, MOST).unwrap();
    let others = FIRST + 1..FIRST + MANY;
    let others = others.map(|uid| node.api.strangers_hold(uid, MOST - 1).unwrap());
    let _others: Vec<_> = others.collect();
    let made = strangers(&node.socket(), FIRST + MANY..FIRST + MANY + 1, 1).await;
    let channel = channel_over(made.into_iter().next().unwrap()).await;
    let mut client = SecretDiscoveryServiceClient::new(channel.clone());
    let waiting = futures_util::StreamExt::boxed(futures_util::stream::pending());
    let refused = within(client.stream_secrets(waiting)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    // The connection of the other is cut, and what it held comes back.
    let mut rest = Vec::new();
    let _ = within(greedy[0].read_to_end(&mut rest)).await;
    drop(most);
    let _waits = Envoy::subscribe(channel, &[WEB]).await;
}

#[tokio::test]
async fn the_connection_that_holds_most_is_cut() {
    let node = Node::start().await;
    node.hold(entitlement("/db", theirs(), 1));
    let made = strangers(&node.socket(), FIRST..FIRST + 1, 2).await;
    let [idle, greedy] = <[UnixStream; 2]>::try_from(made).unwrap();
    let idle = channel_over(idle).await;
    let mut greedy = Envoy::subscribe(channel_over(greedy).await, &[WEB]).await;
    until(|| node.api.strangers_held() > 0).await;
    let most = node.api.strangers_hold(FIRST, MOST - (64 << 10)).unwrap();
    // The last of these finds no room, and makes some.
    let others = FIRST + 1..FIRST + 40;
    let others: Vec<_> = others
        .map_while(|uid| node.api.strangers_hold(uid, MOST / 2))
        .collect();
    assert!(within(greedy.responses.message()).await.is_err());
    drop((most, others));
    let _waits = Envoy::subscribe(idle, &[WEB]).await;
    until(|| node.api.strangers_held() > 0).await;
    assert_eq!(open(&node), (0, 1));
}

/// The next ping has an idle connection judged: its user holds a recognised place no longer.
#[tokio::test]
async fn idle_connections_of_a_removed_user_become_strangers() {
    let node = Node::start_within(few()).await;
    let selectors = SelectorSet::new([Selector::UnixUid(FIRST)]).unwrap();
    let (id, _) = node.hold(entitlement("/web", selectors, 1));
    let mut users = strangers(&node.socket(), FIRST..FIRST + 1, 4).await;
    for user in &mut users {
        user.write_all(PREFACE).await.unwrap();
        user.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        // Our settings: the connection is served.
        user.read_exact(&mut [0; 9]).await.unwrap();
    }
    assert_eq!(open(&node), (4, 0));
    node.remove(&id);
    tokio::time::pause();
    tokio::time::sleep(KEEPALIVE_INTERVAL + Duration::from_secs(1)).await;
    until(|| open(&node) == (0, 4)).await;
}
