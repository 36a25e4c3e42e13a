//! A change wakes the streams that hold what changed, and no other.

use super::*;

/// Names, each on a stream of its own as an Envoy asks for them.
const STREAMS: usize = 8;

async fn streams(node: &Node, names: &[&str]) -> Vec<Envoy> {
    let mut streams = Vec::new();
    for name in names {
        let mut stream = Envoy::subscribe(node.channel().await, &[name]).await;
        stream.accept().await;
        streams.push(stream);
    }
    until(|| node.holdings.asleep() == names.len()).await;
    streams
}

#[tokio::test]
async fn renewal_wakes_the_stream_of_that_name() {
    let node = Node::start().await;
    let paths: Vec<_> = (0..STREAMS).map(|n| format!("/s/{n}")).collect();
    let held = paths.iter().zip(1..);
    let held = held.map(|(path, age)| node.hold(entitlement(path, ours(), age)).0);
    let ids: Vec<_> = held.collect();
    let names: Vec<_> = paths.iter().map(|p| format!("{TRUST_DOMAIN}{p}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut streams = streams(&node, &names).await;
    let before = node.holdings.woken();

    let serial = node.renew(&ids[3]).to_string();
    assert_eq!(node.holdings.woken() - before, 1);
    assert_eq!(streams[3].accept().await.version_info, serial);
    until(|| node.holdings.asleep() == STREAMS).await;

    node.hold(entitlement("/new", ours(), 99));
    assert_eq!(node.holdings.woken() - before, 1, "nobody asked for it");

    node.remove(&ids[5]);
    assert_eq!(node.holdings.woken() - before, 2, "what ended is looked at");
}

#[tokio::test]
async fn bundle_and_default_follow_what_concerns_them() {
    let node = Node::start().await;
    let (web, _) = node.hold(entitlement("/web", ours(), 1));
    let (db, _) = node.hold(entitlement("/db", ours(), 2));
    let (foreign, _) = node.hold(entitlement("/foreign", theirs(), 3));
    let mut streams = streams(&node, &["ROOTCA", "default", WEB]).await;
    let woken = || node.holdings.woken();

    let before = woken();
    node.renew(&foreign);
    assert_eq!(woken() - before, 0, "of another caller");
    node.renew(&db);
    assert_eq!(woken() - before, 1, "a bundle counts until the last end");
    until(|| node.holdings.asleep() == 3).await;

    node.renew(&web);
    assert_eq!(woken() - before, 4);
    streams[1].accept().await;
    streams[2].accept().await;
    until(|| node.holdings.asleep() == 3).await;

    let version = node.add_root();
    assert_eq!(woken() - before, 5);
    assert_eq!(streams[0].accept().await.version_info, version);
    until(|| node.holdings.asleep() == 3).await;

    let mut marked = entitlement("/marked", ours(), 9);
    marked.is_default = true;
    let (_, serial) = node.hold(marked);
    assert_eq!(streams[1].accept().await.version_info, serial.to_string());
    until(|| node.holdings.asleep() == 3).await;
    let before = woken();
    node.renew(&web);
    assert_eq!(woken() - before, 2, "the default is another now");
}

#[tokio::test]
async fn stream_with_many_names_misses_nothing() {
    let node = Node::start().await;
    let paths = (0..=MAX_FOLLOWED_NAMES).map(|n| format!("/s/{n}"));
    let paths: Vec<_> = paths.collect();
    let held = paths.iter().zip(1..);
    let held = held.map(|(path, age)| node.hold(entitlement(path, ours(), age)).0);
    let ids: Vec<_> = held.collect();
    let names: Vec<_> = paths.iter().map(|p| format!("{TRUST_DOMAIN}{p}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut envoy = DeltaEnvoy::subscribe(node.channel().await, &names, &[]).await;
    let mut told = BTreeMap::new();
    while told.len() < names.len() {
        told.extend(versions(&envoy.accept().await));
    }
    for (id, name) in ids.iter().zip(names) {
        let serial = node.renew(id).to_string();
        assert_eq!(versions(&envoy.accept().await)[name], serial);
    }
}

#[tokio::test]
async fn caller_that_gets_an_identity_is_woken() {
    let node = Node::start().await;
    node.hold(entitlement("/foreign", theirs(), 1));
    let mut envoy = Envoy::subscribe(node.channel().await, &["ROOTCA"]).await;
    until(|| node.holdings.asleep() == 1).await;
    let before = node.holdings.woken();
    node.hold(entitlement("/web", ours(), 2));
    assert_eq!(envoy.accept().await.version_info, node.bundle_version());
    assert!(node.holdings.woken() > before);
}
