//! Real gRPC over a real socket; the holdings are filled by hand.

mod floods;
mod strangers;
mod wakeups;

use std::collections::BTreeMap;

use countersign_envoy::{SECRET_TYPE, read_trusted_ca};
use countersign_proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, ErrorDetail,
};
use countersign_proto::sds::secret_discovery_service_client::SecretDiscoveryServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::consumers::ConsumerKind;
use crate::holdings::MAX_FOLLOWED_NAMES;
use crate::local_api::harness::{Node, entitlement, now, ours, theirs, until, within};

const WEB: &str = "spiffe://example.org/web";
const TRUST_DOMAIN: &str = "spiffe://example.org";

/// A state-of-the-world consumer.
struct Envoy {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    names: Vec<String>,
}

impl Envoy {
    async fn subscribe(channel: Channel, names: &[&str]) -> Self {
        Self::resume(channel, names, "").await
    }

    async fn resume(channel: Channel, names: &[&str], version: &str) -> Self {
        let (requests, outbox) = mpsc::channel(8);
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let first = DiscoveryRequest {
            resource_names: names.clone(),
            type_url: SECRET_TYPE.to_owned(),
            version_info: version.to_owned(),
            ..DiscoveryRequest::default()
        };
        requests.send(first).await.unwrap();
        let mut client = SecretDiscoveryServiceClient::new(channel);
        let responses = within(client.stream_secrets(ReceiverStream::new(outbox)));
        Self {
            requests,
            responses: responses.await.unwrap().into_inner(),
            names,
        }
    }

    async fn next(&mut self) -> DiscoveryResponse {
        within(self.responses.message()).await.unwrap().unwrap()
    }

    /// The next secret, acknowledged.
    async fn accept(&mut self) -> DiscoveryResponse {
        let response = self.next().await;
        self.answer(&response, &response.version_info, None).await;
        response
    }

    async fn answer(
        &mut self,
        response: &DiscoveryResponse,
        version: &str,
        error_detail: Option<ErrorDetail>,
    ) {
        let answer = DiscoveryRequest {
            version_info: version.to_owned(),
            resource_names: self.names.clone(),
            type_url: SECRET_TYPE.to_owned(),
            response_nonce: response.nonce.clone(),
            error_detail,
        };
        self.requests.send(answer).await.unwrap();
    }
}

struct DeltaEnvoy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl DeltaEnvoy {
    async fn subscribe(channel: Channel, names: &[&str], held: &[(&str, &str)]) -> Self {
        let (requests, outbox) = mpsc::channel(8);
        let held = held.iter().map(|(n, v)| (n.to_string(), v.to_string()));
        let first = DeltaDiscoveryRequest {
            type_url: SECRET_TYPE.to_owned(),
            resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
            initial_resource_versions: held.collect(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.unwrap();
        let mut client = SecretDiscoveryServiceClient::new(channel);
        let responses = within(client.delta_secrets(ReceiverStream::new(outbox)));
        Self {
            requests,
            responses: responses.await.unwrap().into_inner(),
        }
    }

    async fn accept(&mut self) -> DeltaDiscoveryResponse {
        let response = within(self.responses.message()).await.unwrap().unwrap();
        let answer = DeltaDiscoveryRequest {
            type_url: SECRET_TYPE.to_owned(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(answer).await.unwrap();
        response
    }
}

async fn fetch(channel: Channel, names: &[&str]) -> DiscoveryResponse {
    let request = DiscoveryRequest {
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..DiscoveryRequest::default()
    };
    let mut client = SecretDiscoveryServiceClient::new(channel);
    within(client.fetch_secrets(request))
        .await
        .unwrap()
        .into_inner()
}

fn contains(response: &DiscoveryResponse, text: &str) -> bool {
    let body = &response.resources[0].value;
    body.windows(text.len()).any(|w| w == text.as_bytes())
}

fn versions(response: &DeltaDiscoveryResponse) -> BTreeMap<String, String> {
    let resources = response.resources.iter();
    resources
        .map(|r| (r.name.clone(), r.version.clone()))
        .collect()
}

#[tokio::test]
async fn a_certificate_comes_with_its_key_and_serial() {
    let node = Node::start().await;
    let (_, serial) = node.hold(entitlement("/web", ours(), 1));
    for name in [WEB, "default"] {
        let mut envoy = Envoy::subscribe(node.channel().await, &[name]).await;
        let response = envoy.next().await;
        assert_eq!(response.version_info, serial.to_string());
        assert!(contains(&response, "PRIVATE KEY"), "{name}");
    }
}

#[tokio::test]
async fn bundles_come_under_every_name() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    for name in ["ROOTCA", TRUST_DOMAIN, "ALL"] {
        let mut envoy = Envoy::subscribe(node.channel().await, &[name]).await;
        let response = envoy.next().await;
        assert_eq!(response.version_info, node.bundle_version(), "{name}");
        assert!(!contains(&response, "PRIVATE KEY"), "{name}");
        assert!(contains(&response, "BEGIN CERTIFICATE"), "{name}");
    }
    let response = fetch(node.channel().await, &["ROOTCA"]).await;
    let roots = read_trusted_ca(&response.resources[0].value).unwrap();
    assert_eq!(roots.len(), 1);
}

#[tokio::test]
async fn an_envoy_waits_through_an_outage_at_start() {
    let node = Node::start().await;
    node.forget_everything();
    let mut waiting = Envoy::subscribe(node.channel().await, &[WEB]).await;
    let mut bundles = DeltaEnvoy::subscribe(node.channel().await, &["ROOTCA"], &[]).await;
    node.learn();
    let (_, serial) = node.hold(entitlement("/web", ours(), 1));
    assert_eq!(waiting.next().await.version_info, serial.to_string());
    let versions = versions(&bundles.accept().await);
    assert_eq!(versions["ROOTCA"], node.bundle_version());
}

#[tokio::test]
async fn a_caller_without_identity_gets_nothing() {
    let node = Node::start().await;
    let (stranger, _) = node.hold(entitlement("/web", theirs(), 1));
    let names = ["default", WEB, "ROOTCA", TRUST_DOMAIN, "ALL"];
    let response = fetch(node.channel().await, &names).await;
    assert!(response.resources.is_empty());

    let mut envoy = DeltaEnvoy::subscribe(node.channel().await, &names, &[]).await;
    node.renew(&stranger);
    let (_, serial) = node.hold(entitlement("/db", ours(), 2));
    let mut seen = BTreeMap::new();
    while seen.len() < 4 {
        seen.extend(versions(&envoy.accept().await));
    }
    assert_eq!(seen["default"], serial.to_string());
    assert!(!seen.contains_key(WEB));
}

#[tokio::test]
async fn an_unknown_name_harms_only_itself() {
    let node = Node::start().await;
    let (id, _) = node.hold(entitlement("/web", ours(), 1));
    let names = [
        "nonsense",
        "spiffe://elsewhere.org/x",
        "",
        WEB,
        "file-root:system",
    ];
    let response = fetch(node.channel().await, &names).await;
    assert_eq!(response.resources.len(), 1);
    let mut envoy = Envoy::subscribe(node.channel().await, &names).await;
    let first = envoy.accept().await;
    let serial = node.renew(&id);
    assert_ne!(envoy.next().await.version_info, first.version_info);
    assert_eq!(
        node.holdings.load().entries[&id]
            .svid
            .as_ref()
            .unwrap()
            .serial,
        serial
    );
}

#[tokio::test]
async fn a_renewal_reaches_its_subscriber_alone() {
    let node = Node::start().await;
    let (web, _) = node.hold(entitlement("/web", ours(), 1));
    let (db, _) = node.hold(entitlement("/db", ours(), 2));
    let channel = node.channel().await;
    let mut on_web = Envoy::subscribe(channel.clone(), &[WEB]).await;
    let mut on_db = DeltaEnvoy::subscribe(channel, &["spiffe://example.org/db"], &[]).await;
    on_web.accept().await;
    on_db.accept().await;
    let second = node.renew(&web);
    assert_eq!(on_web.accept().await.version_info, second.to_string());
    let third = node.renew(&db);
    let response = on_db.accept().await;
    let expected = [("spiffe://example.org/db".to_owned(), third.to_string())];
    assert_eq!(versions(&response), expected.into());
}

#[tokio::test]
async fn a_reconnect_with_equal_content_resends_nothing() {
    let node = Node::start().await;
    let (web, serial) = node.hold(entitlement("/web", ours(), 1));
    let serial = serial.to_string();
    let mut delta = DeltaEnvoy::subscribe(node.channel().await, &[WEB], &[(WEB, &serial)]).await;
    let mut state = Envoy::resume(node.channel().await, &[WEB], &serial).await;
    until(|| connected(&node) > 0).await;
    let next = node.renew(&web).to_string();
    assert_eq!(versions(&delta.accept().await)[WEB], next);
    assert_eq!(state.accept().await.version_info, next);
}

#[tokio::test]
async fn a_removed_identity_is_removed_by_name() {
    let node = Node::start().await;
    node.hold(entitlement("/db", ours(), 1));
    let (web, _) = node.hold(entitlement("/web", ours(), 2));
    let mut envoy = DeltaEnvoy::subscribe(node.channel().await, &[WEB, "ROOTCA"], &[]).await;
    let mut seen = BTreeMap::new();
    while seen.len() < 2 {
        seen.extend(versions(&envoy.accept().await));
    }
    node.remove(&web);
    let response = envoy.accept().await;
    assert_eq!(response.removed_resources, [WEB]);
    assert!(response.resources.is_empty());
}

#[tokio::test]
async fn a_wanted_identity_is_demanded_and_pushed() {
    let node = Node::start().await;
    let id = node.entitle(entitlement("/web", ours(), 1));
    let mut demanded = node.holdings.demanded();
    let mut envoy = Envoy::subscribe(node.channel().await, &[WEB]).await;
    within(demanded.wait_for(|wanted| wanted.contains(&id)))
        .await
        .unwrap();
    let serial = node.renew(&id);
    assert_eq!(envoy.next().await.version_info, serial.to_string());
}

#[tokio::test]
async fn an_expired_credential_is_not_given() {
    let node = Node::start().await;
    let id = node.entitle(entitlement("/web", ours(), 1));
    node.renew_until(&id, "2026-05-31T23:59:59Z".parse().unwrap());
    let mut envoy = Envoy::subscribe(node.channel().await, &[WEB]).await;
    let serial = node.renew(&id);
    assert_eq!(envoy.next().await.version_info, serial.to_string());
}

#[tokio::test]
async fn a_refusal_is_counted_and_not_answered() {
    let node = Node::start().await;
    let (id, _) = node.hold(entitlement("/web", ours(), 1));
    let mut envoy = Envoy::subscribe(node.channel().await, &[WEB]).await;
    let response = envoy.next().await;
    let error = ErrorDetail {
        code: 13,
        message: "Failed to load private key from <inline>".to_owned(),
    };
    envoy.answer(&response, "", Some(error)).await;
    until(|| metrics(&node).contains("sds_refusals_total{reason=")).await;
    let serial = node.renew(&id);
    assert_eq!(envoy.next().await.version_info, serial.to_string());
}

#[tokio::test]
async fn other_types_hear_nothing() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let mut client = SecretDiscoveryServiceClient::new(node.channel().await);
    let request = |type_url: &str| DiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names: vec![WEB.to_owned()],
        ..DiscoveryRequest::default()
    };
    let refused = within(client.fetch_secrets(request("type.googleapis.com/other")));
    assert_eq!(refused.await.unwrap_err().code(), Code::InvalidArgument);
    let requests = tokio_stream::iter([request("type.googleapis.com/other"), request("")]);
    let open = tokio_stream::StreamExt::chain(requests, tokio_stream::pending());
    let responses = within(client.stream_secrets(open)).await.unwrap();
    let response = within(responses.into_inner().message()).await.unwrap();
    assert_eq!(response.unwrap().type_url, SECRET_TYPE);
}

#[tokio::test]
async fn an_acknowledged_bundle_is_recorded() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let mut envoy = Envoy::subscribe(node.channel().await, &["ROOTCA"]).await;
    let first = envoy.accept().await.version_info;
    let consumer = || node.consumers.all().into_values().next();
    let at =
        |version: &str| consumer().is_some_and(|c| c.bundle_version.as_deref() == Some(version));
    until(|| at(&first)).await;
    let second = node.add_root();
    let response = envoy.next().await;
    assert!(at(&first), "not acknowledged yet");
    envoy.answer(&response, &second, None).await;
    until(|| at(&second)).await;
    drop(envoy);
    until(|| consumer().is_some_and(|c| !c.connected)).await;
    let consumer = consumer().unwrap();
    assert_eq!(consumer.kind, ConsumerKind::Envoy);
    assert_eq!(consumer.resource.as_deref(), Some("ROOTCA"));
    assert!(consumer.credential_not_after > Some(now()));
}

#[tokio::test]
async fn an_acknowledged_certificate_is_recorded() {
    let node = Node::start().await;
    let (id, _) = node.hold(entitlement("/web", ours(), 1));
    let mut envoy = Envoy::subscribe(node.channel().await, &[WEB]).await;
    let first = envoy.accept().await.version_info;
    let consumer = || node.consumers.all().into_values().next();
    let at = |version: &str| {
        let serials = consumer().map(|it| it.serials).unwrap_or_default();
        serials.iter().map(ToString::to_string).eq([version])
    };
    until(|| at(&first)).await;
    let second = node.renew(&id).to_string();
    let response = envoy.next().await;
    assert!(at(&first), "not acknowledged yet");
    envoy.answer(&response, &second, None).await;
    until(|| at(&second)).await;
    assert_eq!(consumer().unwrap().bundle_version, None);
}

#[tokio::test]
async fn junk_on_the_socket_harms_nobody() {
    let node = Node::start().await;
    let (id, _) = node.hold(entitlement("/web", ours(), 1));
    let mut envoy = Envoy::subscribe(node.channel().await, &[WEB]).await;
    envoy.accept().await;
    let mut junk = UnixStream::connect(node.socket()).await.unwrap();
    let _ = junk.write_all(&[0xa5; 4096]).await;
    let mut rest = Vec::new();
    let _ = within(junk.read_to_end(&mut rest)).await;
    let serial = node.renew(&id);
    assert_eq!(envoy.next().await.version_info, serial.to_string());
}

/// Every stream of a sidecar that ends is told so, and then there is no server any more.
#[tokio::test]
async fn a_sidecar_that_stops_says_so_to_every_stream() {
    let mut node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let mut envoy = Envoy::subscribe(node.channel().await, &[WEB]).await;
    let mut delta = DeltaEnvoy::subscribe(node.channel().await, &[WEB], &[]).await;
    let mut waiting = Envoy::subscribe(node.channel().await, &["spiffe://example.org/later"]).await;
    envoy.accept().await;
    delta.accept().await;
    node.api.stop();
    for ended in [
        within(envoy.responses.message()).await.map(drop),
        within(delta.responses.message()).await.map(drop),
        within(waiting.responses.message()).await.map(drop),
    ] {
        let status = ended.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert_eq!(status.message(), "the sidecar is stopping");
    }
    node.ended().await;
    assert!(UnixStream::connect(node.socket()).await.is_err());
}

#[tokio::test]
async fn a_hundred_streams_share_one_connection() {
    let node = Node::start().await;
    let (id, _) = node.hold(entitlement("/web", ours(), 1));
    let channel = node.channel().await;
    let mut envoys = Vec::new();
    for _ in 0..100 {
        envoys.push(Envoy::subscribe(channel.clone(), &[WEB]).await);
    }
    for envoy in &mut envoys {
        envoy.accept().await;
    }
    let serial = node.renew(&id).to_string();
    for envoy in &mut envoys {
        assert_eq!(envoy.next().await.version_info, serial);
    }
    assert_eq!(node.consumers.all().len(), 1);
    assert!(format!("{:?}", node.local).contains("cached: 1"));
}

#[tokio::test]
async fn callers_that_vanish_leak_no_descriptor() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    for round in 0..300 {
        match round % 3 {
            0 => drop(UnixStream::connect(node.socket()).await.unwrap()),
            1 => {
                let mut half = UnixStream::connect(node.socket()).await.unwrap();
                let _ = half.write_all(b"PRI * HTTP/2.0\r\n").await;
            }
            _ => drop(Envoy::subscribe(node.channel().await, &[WEB]).await),
        }
    }
    let folder = node.socket().parent().unwrap().to_str().unwrap().to_owned();
    // The listener itself is all that is left in this folder.
    until(|| {
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        sockets.lines().filter(|l| l.contains(&folder)).count() == 1
    })
    .await;
    until(|| metrics(&node).contains("sds_streams 0")).await;
    assert_eq!(connected(&node), 0);
}

fn connected(node: &Node) -> usize {
    let consumers = node.consumers.all();
    consumers.values().filter(|c| c.connected).count()
}

fn metrics(node: &Node) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    node.local.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}
