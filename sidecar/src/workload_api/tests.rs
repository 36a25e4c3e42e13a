//! The standard's rules over a real socket, with our own client and with the `spiffe` crate.

use countersign_model::Hint;
use countersign_proto::codec::Message as _;
use countersign_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use countersign_proto::workload::{X509BundlesRequest, X509svidRequest, X509svidResponse};
use spiffe::{WorkloadApiClient, X509Source};
use tonic::{Code, Request, Status, Streaming};

use super::reply::{MAX_REPLY_BYTES, MAX_SVIDS};
use crate::consumers::ConsumerKind;
use crate::local_api::harness::{Node, entitlement, now, ours, theirs, until, within};
use countersign_serve::limits::{BYTES_OF_A_USER, CALL_BYTES};

fn request<T: Default>() -> Request<T> {
    let mut request = Request::new(T::default());
    let value = "true".parse().unwrap();
    request.metadata_mut().insert("workload.spiffe.io", value);
    request
}

async fn fetch(node: &Node) -> Result<Streaming<X509svidResponse>, Status> {
    let mut client = SpiffeWorkloadApiClient::new(node.channel().await);
    let response = within(client.fetch_x509svid(request::<X509svidRequest>())).await?;
    Ok(response.into_inner())
}

async fn next(stream: &mut Streaming<X509svidResponse>) -> X509svidResponse {
    within(stream.message()).await.unwrap().unwrap()
}

fn ids(message: &X509svidResponse) -> Vec<&str> {
    message.svids.iter().map(|s| s.spiffe_id.as_str()).collect()
}

#[tokio::test]
async fn a_missing_security_header_is_invalid() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let mut client = SpiffeWorkloadApiClient::new(node.channel().await);
    let status = within(client.fetch_x509svid(X509svidRequest {})).await;
    assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
    let status = within(client.fetch_x509_bundles(X509BundlesRequest {})).await;
    assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
    for value in ["false", "TRUE", ""] {
        let mut request = Request::new(X509svidRequest {});
        let value = value.parse().unwrap();
        request.metadata_mut().insert("workload.spiffe.io", value);
        let status = within(client.fetch_x509svid(request)).await;
        assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_sidecar_that_stops_is_unavailable() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let mut stream = fetch(&node).await.unwrap();
    next(&mut stream).await;
    node.api.stop();
    let status = within(stream.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.message(), "the sidecar is stopping");
}

#[tokio::test]
async fn a_caller_without_identity_is_denied() {
    let node = Node::start().await;
    node.hold(entitlement("/web", theirs(), 1));
    let status = fetch(&node).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let mut client = SpiffeWorkloadApiClient::new(node.channel().await);
    let status = within(client.fetch_x509_bundles(request::<X509BundlesRequest>())).await;
    assert_eq!(status.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn the_default_identity_is_first() {
    let node = Node::start().await;
    node.hold(entitlement("/older", ours(), 1));
    let mut marked = entitlement("/marked", ours(), 2);
    marked.is_default = true;
    node.hold(marked);
    let message = next(&mut fetch(&node).await.unwrap()).await;
    let expected = ["spiffe://example.org/marked", "spiffe://example.org/older"];
    assert_eq!(ids(&message), expected);
}

#[tokio::test]
async fn a_second_identity_is_pushed() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let mut stream = fetch(&node).await.unwrap();
    assert_eq!(next(&mut stream).await.svids.len(), 1);
    node.hold(entitlement("/db", ours(), 2));
    assert_eq!(next(&mut stream).await.svids.len(), 2);
}

#[tokio::test]
async fn equal_content_is_not_sent_again() {
    let node = Node::start().await;
    let (web, _) = node.hold(entitlement("/web", ours(), 1));
    let (foreign, _) = node.hold(entitlement("/foreign", theirs(), 2));
    let mut stream = fetch(&node).await.unwrap();
    let first = next(&mut stream).await;
    node.renew(&foreign);
    node.remove(&foreign);
    node.renew(&web);
    let second = next(&mut stream).await;
    assert_ne!(first.svids[0].x509_svid, second.svids[0].x509_svid);
    let version = node.add_root();
    let third = next(&mut stream).await;
    assert_eq!(second.svids[0].x509_svid, third.svids[0].x509_svid);
    assert_eq!(version, node.bundle_version());
    assert!(third.svids[0].bundle.len() > second.svids[0].bundle.len());
}

#[tokio::test]
async fn renewal_wakes_the_streams_of_its_callers() {
    let node = Node::start().await;
    let (web, _) = node.hold(entitlement("/web", ours(), 1));
    let (foreign, _) = node.hold(entitlement("/foreign", theirs(), 2));
    let mut stream = fetch(&node).await.unwrap();
    next(&mut stream).await;
    let mut client = SpiffeWorkloadApiClient::new(node.channel().await);
    let bundles = within(client.fetch_x509_bundles(request::<X509BundlesRequest>())).await;
    let mut bundles = bundles.unwrap().into_inner();
    within(bundles.message()).await.unwrap().unwrap();
    until(|| node.holdings.asleep() == 2).await;

    let before = node.holdings.woken();
    node.renew(&foreign);
    assert_eq!(node.holdings.woken() - before, 0, "of another caller");
    node.renew(&web);
    assert_eq!(node.holdings.woken() - before, 1, "no bundle changed");
    next(&mut stream).await;
    until(|| node.holdings.asleep() == 2).await;
    node.add_root();
    assert_eq!(node.holdings.woken() - before, 3);
    next(&mut stream).await;
    within(bundles.message()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_ends_with_its_last_identity() {
    let node = Node::start().await;
    let (web, _) = node.hold(entitlement("/web", ours(), 1));
    let (db, _) = node.hold(entitlement("/db", ours(), 2));
    let mut stream = fetch(&node).await.unwrap();
    next(&mut stream).await;
    node.remove(&web);
    assert_eq!(ids(&next(&mut stream).await), ["spiffe://example.org/db"]);
    node.remove(&db);
    let status = within(stream.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_enrolment_is_demanded_and_awaited() {
    let node = Node::start().await;
    let id = node.entitle(entitlement("/web", ours(), 1));
    let mut demanded = node.holdings.demanded();
    let enrol = async {
        let wanted = within(demanded.wait_for(|wanted| wanted.contains(&id)));
        drop(wanted.await.unwrap());
        node.renew(&id);
    };
    let (stream, ()) = tokio::join!(fetch(&node), enrol);
    assert_eq!(next(&mut stream.unwrap()).await.svids.len(), 1);
}

#[tokio::test]
async fn a_credential_that_never_comes_is_unavailable() {
    let node = Node::start().await;
    node.entitle(entitlement("/web", ours(), 1));
    let status = fetch(&node).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn an_outage_at_start_is_unavailable_and_no_denial() {
    let node = Node::start().await;
    node.forget_everything();
    let status = fetch(&node).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("control plane"), "{status}");
    // Who waits while the control plane comes back is answered at once.
    let (answer, ()) = tokio::join!(fetch(&node), async {
        node.hold(entitlement("/web", ours(), 1));
        node.learn();
    });
    assert_eq!(next(&mut answer.unwrap()).await.svids.len(), 1);
}

#[tokio::test]
async fn the_default_is_not_replaced_by_another() {
    let node = Node::start().await;
    node.entitle(entitlement("/default", ours(), 1));
    node.hold(entitlement("/other", ours(), 2));
    let status = fetch(&node).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_repeated_hint_stays_with_the_first() {
    let node = Node::start().await;
    for (path, age) in [("/a", 1), ("/b", 2)] {
        let mut hinted = entitlement(path, ours(), age);
        hinted.hint = Some(Hint::try_from("internal".to_owned()).unwrap());
        node.hold(hinted);
    }
    let message = next(&mut fetch(&node).await.unwrap()).await;
    let hints: Vec<_> = message.svids.iter().map(|s| s.hint.as_str()).collect();
    assert_eq!(hints, ["internal", ""]);
}

#[tokio::test]
async fn bundles_are_keyed_by_trust_domain() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let mut client = SpiffeWorkloadApiClient::new(node.channel().await);
    let response = within(client.fetch_x509_bundles(request::<X509BundlesRequest>())).await;
    let mut stream = response.unwrap().into_inner();
    let first = within(stream.message()).await.unwrap().unwrap();
    let first = &first.bundles["spiffe://example.org"];
    node.add_root();
    let second = within(stream.message()).await.unwrap().unwrap();
    assert!(second.bundles["spiffe://example.org"].len() > first.len());
}

#[tokio::test]
async fn a_delivery_is_recorded() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let mut stream = fetch(&node).await.unwrap();
    next(&mut stream).await;
    let consumer = || node.consumers.all().into_values().next();
    until(|| consumer().is_some_and(|c| c.delivered_at == Some(now()))).await;
    let version = node.bundle_version();
    let recorded = consumer().unwrap();
    assert_eq!(recorded.kind, ConsumerKind::WorkloadApi);
    assert_eq!(recorded.bundle_version, Some(version));
    assert!(recorded.connected && recorded.credential_not_after > Some(now()));
    assert_eq!(recorded.serials.len(), 1, "what was delivered is told");
    drop(stream);
    until(|| consumer().is_some_and(|c| !c.connected)).await;
}

#[tokio::test]
async fn an_independent_client_reads_our_messages() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let endpoint = format!("unix://{}", node.socket().display());
    let client = within(WorkloadApiClient::connect_to(&endpoint))
        .await
        .unwrap();
    let svid = within(client.fetch_x509_svid()).await.unwrap();
    assert_eq!(svid.spiffe_id().to_string(), "spiffe://example.org/web");
    let bundles = within(client.fetch_x509_bundles()).await.unwrap();
    assert_eq!(bundles.len(), 1);
}

#[tokio::test]
async fn an_independent_source_follows_a_renewal() {
    let node = Node::start().await;
    let (id, _) = node.hold(entitlement("/web", ours(), 1));
    let endpoint = format!("unix://{}", node.socket().display());
    let source = within(X509Source::builder().endpoint(&endpoint).build())
        .await
        .unwrap();
    let first = source.svid().unwrap().leaf().as_bytes().to_vec();
    let mut updates = source.updated();
    node.renew(&id);
    within(updates.changed()).await.unwrap();
    assert_ne!(source.svid().unwrap().leaf().as_bytes(), first);
}

/// The client takes in 4 MiB, as every client of gRPC does by default.
#[tokio::test]
async fn more_identities_than_fit_are_left_out_from_the_end() {
    let node = Node::start().await;
    node.hold_large(1_024);
    let message = next(&mut fetch(&node).await.unwrap()).await;
    let svid = message.svids[0].encoded_len();
    let length = message.encoded_len();
    assert!(length <= MAX_REPLY_BYTES, "{length}");
    assert!(
        length + 4 * svid > MAX_REPLY_BYTES,
        "as many as fit: {length}"
    );
    assert!(message.svids.len() < 1_024 && svid > 4_096);
}

#[tokio::test]
async fn a_caller_with_a_thousand_identities_gets_them() {
    let node = Node::start().await;
    let mut marked = entitlement("/marked", ours(), 5_000);
    marked.is_default = true;
    node.hold(marked);
    for n in 0..1_030 {
        node.entitle(entitlement(&format!("/n/{n}"), ours(), n));
    }
    let snapshot = node.holdings.load();
    let ids: Vec<_> = snapshot.entries.keys().cloned().collect();
    node.renew_all(&ids);
    let message = next(&mut fetch(&node).await.unwrap()).await;
    assert_eq!(message.svids.len(), MAX_SVIDS);
    assert_eq!(message.svids[0].spiffe_id, "spiffe://example.org/marked");
}

/// Replies of 4 MiB, of which nobody reads more than the first bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_pays_for_replies_that_nobody_reads() {
    let node = Node::start().await;
    node.hold_large(1_000);
    let length = next(&mut fetch(&node).await.unwrap()).await.encoded_len();
    until(|| node.api.held_bytes() == 0).await;
    let mut unread = Vec::new();
    let refused = loop {
        assert!(unread.len() < 8, "{} bytes", node.api.held_bytes());
        let is_too_much = node.api.held_bytes() + length > BYTES_OF_A_USER;
        let mut stream = fetch(&node).await.unwrap();
        if is_too_much {
            break within(stream.message()).await;
        }
        unread.push(stream);
        until(|| node.api.held_bytes() >= unread.len() * length).await;
    };
    let code = refused.map(|_| "a message").map_err(|status| status.code());
    assert_eq!(code, Err(Code::ResourceExhausted));
    assert!(unread.len() > 2 && node.api.held_bytes() <= BYTES_OF_A_USER);
    // Who reads gives back, though its stream stays open.
    let mut read = unread.pop().unwrap();
    let message = next(&mut read).await;
    assert_eq!(message.encoded_len(), length);
    let next_one = next(&mut fetch(&node).await.unwrap()).await;
    assert_eq!(next_one.svids.len(), message.svids.len());
    drop(unread);
    until(|| node.api.held_bytes() == CALL_BYTES).await;
    drop(read);
    until(|| node.api.held_bytes() == 0).await;
}

/// A call that began before it was known who may have what.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_pays_for_its_stream_once_rights_are_known() {
    let node = Node::start().await;
    let (id, _) = node.hold(entitlement("/web", ours(), 1));
    let entries = node.holdings.load().entries.clone();
    node.forget_everything();
    let learning = async {
        until(|| node.api.strangers_held() == CALL_BYTES).await;
        node.holdings.publish(|snapshot| snapshot.entries = entries);
        node.learn();
        node.renew(&id);
    };
    let (stream, ()) = tokio::join!(fetch(&node), learning);
    let mut stream = stream.unwrap();
    next(&mut stream).await;
    until(|| node.api.held_bytes() == CALL_BYTES).await;
    assert_eq!(node.api.strangers_held(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workloads_with_a_hundred_identities_are_served() {
    let node = Node::start().await;
    let ids = (0..100).map(|n| node.entitle(entitlement(&format!("/n/{n}"), ours(), n)));
    let ids: Vec<_> = ids.collect();
    node.renew_all(&ids);
    let mut workloads = Vec::new();
    for _ in 0..50 {
        workloads.push(fetch(&node).await.unwrap());
    }
    for _ in 0..2 {
        for workload in &mut workloads {
            assert_eq!(next(workload).await.svids.len(), 100);
        }
        node.renew_all(&ids);
    }
}
