//! What a user can make the node hold and do, and that an honest Envoy of any size is served.

use bytes::{BufMut as _, Bytes, BytesMut};
use countersign_proto::codec::Message as _;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt as _;

use countersign_serve::limits::{CALL_BYTES, FRAME_BYTES, FREE_NAMES};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::local_api::harness::{channel_over, crowd, of_group};
use crate::local_api::quota::MAX_STREAMS_WITHOUT_IDENTITY;

const STREAM: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
/// As long as the node of an Envoy 1.40.
const NODE_BYTES: usize = 61_000;

type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, Status>>;

/// A stream whose bytes the test sends itself.
async fn raw(channel: Channel) -> (Frames, http::Response<Body>) {
    let (frames, sent) = mpsc::unbounded_channel();
    let body = Body::new(StreamBody::new(UnboundedReceiverStream::new(sent)));
    let request = http::Request::post(format!("http://localhost{STREAM}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let response = within(channel.oneshot(request)).await.unwrap();
    (frames, response)
}

fn send(frames: &Frames, bytes: &[u8]) {
    let frame = Frame::data(Bytes::copy_from_slice(bytes));
    frames.send(Ok(frame)).unwrap();
}

/// A request as an Envoy writes it, with its node before everything else.
fn request(names: &[&str]) -> Vec<u8> {
    let request = DiscoveryRequest {
        resource_names: names.iter().map(ToString::to_string).collect(),
        type_url: SECRET_TYPE.to_owned(),
        ..DiscoveryRequest::default()
    };
    let mut message = BytesMut::new();
    message.put_slice(&[0x12, 0xc8, 0xdc, 0x03]); // node, 61,000 bytes
    message.put_bytes(b'n', NODE_BYTES);
    message.put_slice(&request.encode_to_vec());
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(&message);
    framed.to_vec()
}

/// The first response of a raw stream.
async fn first(response: http::Response<Body>) -> DiscoveryResponse {
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    loop {
        let frame = within(body.frame()).await.unwrap().unwrap();
        bytes.extend_from_slice(&frame.into_data().expect("a message"));
        let length = bytes
            .get(1..5)
            .map(|l| u32::from_be_bytes(l.try_into().unwrap()));
        if let Some(length) = length
            && bytes.len() >= 5 + length as usize
        {
            return DiscoveryResponse::decode(&bytes[5..5 + length as usize]).unwrap();
        }
    }
}

/// All of them at once on one connection, each stopped in the middle of its node.
#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_with_a_thousand_streams_is_served() {
    let node = Node::start().await;
    let (_, serial) = node.hold(entitlement("/web", ours(), 1));
    let channel = node.channel().await;
    let message = request(&[WEB]);
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        let (frames, response) = raw(channel.clone()).await;
        send(&frames, &message[..NODE_BYTES / 2]);
        streams.push((frames, response));
    }
    until(|| node.api.held_bytes() > 0).await;
    let messages = node.api.held_bytes() - node.api.held_bytes().min(1_000 * CALL_BYTES);
    assert!(messages < 1 << 20, "{messages}");
    for (frames, _) in &streams {
        send(frames, &message[NODE_BYTES / 2..]);
    }
    let mut open = Vec::new();
    for (frames, response) in streams {
        assert_eq!(first(response).await.version_info, serial.to_string());
        open.push(frames);
    }
    drop(open);
    until(|| node.api.held_bytes() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_secrets_on_one_stream_are_served() {
    let node = Node::start().await;
    let paths: Vec<String> = (0..1_000)
        .map(|n| format!("/payments/worker-{n}"))
        .collect();
    let ids = (0..)
        .zip(&paths)
        .map(|(n, path)| node.entitle(entitlement(path, ours(), n)));
    let ids: Vec<_> = ids.collect();
    node.renew_all(&ids);
    let names: Vec<String> = paths
        .iter()
        .map(|path| format!("{TRUST_DOMAIN}{path}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();

    let mut delta = DeltaEnvoy::subscribe(node.channel().await, &names, &[]).await;
    let mut seen = BTreeMap::new();
    while seen.len() < names.len() {
        seen.extend(versions(&delta.accept().await));
    }
    // In the other dialect one comes after the other.
    let mut state = Envoy::subscribe(node.channel().await, &names).await;
    for _ in 0..20 {
        state.accept().await;
    }
    let renewed = node.renew(&ids[500]).to_string();
    let response = delta.accept().await;
    assert_eq!(
        versions(&response),
        [(names[500].to_owned(), renewed)].into()
    );
}

#[tokio::test]
async fn an_acknowledgement_looks_at_no_name() {
    let node = Node::start().await;
    let (id, _) = node.hold(entitlement("/web", ours(), 1));
    let absent: Vec<String> = (0..1_000)
        .map(|n| format!("{TRUST_DOMAIN}/absent/{n}"))
        .collect();
    let mut names: Vec<&str> = absent.iter().map(String::as_str).collect();
    names.push(WEB);
    let mut envoy = Envoy::subscribe(node.channel().await, &names).await;
    let response = envoy.accept().await;
    // One more name is answered behind everything that was said before.
    let ask = async |envoy: &mut Envoy, name: &str| {
        envoy.names.push(name.to_owned());
        envoy.answer(&response, &response.version_info, None).await;
        envoy.accept().await;
    };
    ask(&mut envoy, "ROOTCA").await;
    let before = lookups(&node);
    for _ in 0..100 {
        envoy.answer(&response, &response.version_info, None).await;
    }
    node.renew(&id);
    envoy.accept().await;
    ask(&mut envoy, "ALL").await;
    let looked = lookups(&node) - before;
    assert!(
        looked < 200,
        "{looked} names for a hundred acknowledgements and two changes"
    );
}

fn lookups(node: &Node) -> u64 {
    let metrics = metrics(node);
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("sds_lookups_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn names_that_cannot_be_ours_are_not_kept() {
    let node = Node::start().await;
    let (_, serial) = node.hold(entitlement("/web", ours(), 1));
    let long = "x".repeat(200);
    let odd: Vec<String> = (0..2_000)
        .map(|n| match n % 4 {
            0 => format!("spiffe://elsewhere.org/{long}/{n}"),
            1 => format!("{TRUST_DOMAIN}/{long}//{n}"),
            2 => format!("{TRUST_DOMAIN}.evil/{long}/{n}"),
            _ => format!("{long}-{n}"),
        })
        .collect();
    let mut names: Vec<&str> = odd.iter().map(String::as_str).collect();
    names.push(WEB);
    let mut envoy = Envoy::subscribe(node.channel().await, &names).await;
    assert_eq!(envoy.accept().await.version_info, serial.to_string());
    // Its acknowledgement may still be on its way.
    until(|| node.api.held_bytes() < CALL_BYTES + 4_096).await;
    let mut delta = DeltaEnvoy::subscribe(node.channel().await, &names, &[]).await;
    assert_eq!(versions(&delta.accept().await)[WEB], serial.to_string());
    // Its acknowledgement may still be on its way.
    until(|| node.api.held_bytes() < 2 * CALL_BYTES + 4_096).await;
}

/// So many names that forty streams with them are more than one user may have.
fn many_names() -> Vec<String> {
    let long = "x".repeat(400);
    let names = (0..2_000).map(|n| format!("{TRUST_DOMAIN}/{long}/{n}"));
    names.collect()
}

/// A stream with many names over each of these, until one is refused.
async fn hold_names(node: &Node, channels: impl Iterator<Item = Channel>) -> Vec<DeltaEnvoy> {
    let names = many_names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut streams = Vec::new();
    let mut channels = channels.take(40);
    let refused = loop {
        let held = node.api.held_bytes();
        let channel = channels.next();
        let channel = channel.unwrap_or_else(|| panic!("{held} bytes are held"));
        let mut envoy = DeltaEnvoy::subscribe(channel, &names, &[]).await;
        // The last name is there: its secret says that the others were taken in.
        let web = DeltaDiscoveryRequest {
            resource_names_subscribe: vec![WEB.to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        let _ = envoy.requests.send(web).await;
        match within(envoy.responses.message()).await {
            Ok(_) => streams.push(envoy),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(node.api.held_bytes() <= countersign_serve::limits::BYTES_OF_A_USER);
    streams
}

#[tokio::test]
async fn a_user_pays_for_the_names_of_its_streams() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let channel = node.channel().await;
    let streams = hold_names(&node, std::iter::repeat(channel.clone())).await;
    drop(streams);
    until(|| node.api.held_bytes() == 0).await;
    let _small = DeltaEnvoy::subscribe(channel, &[WEB], &[]).await;
    until(|| node.api.held_bytes() > 0).await;
}

#[tokio::test]
async fn uids_of_one_gid_pay_together() {
    let node = Node::start().await;
    node.hold(entitlement("/web", of_group(4_000), 1));
    let mut users = crowd(&node.socket(), 100_000..100_040, Some(4_000), 1).await;
    let mut channels = Vec::new();
    for connection in std::mem::take(&mut users.connections) {
        channels.push(channel_over(connection).await);
    }
    let _streams = hold_names(&node, channels.into_iter()).await;
}

#[tokio::test]
async fn a_caller_without_identity_gets_few_streams() {
    let node = Node::start().await;
    node.hold(entitlement("/web", theirs(), 1));
    let channel = node.channel().await;
    let mut waiting = Vec::new();
    for _ in 0..MAX_STREAMS_WITHOUT_IDENTITY {
        waiting.push(Envoy::subscribe(channel.clone(), &["default"]).await);
    }
    let mut client = SecretDiscoveryServiceClient::new(channel.clone());
    let refused = within(client.stream_secrets(stream::pending().boxed())).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);

    // An Envoy that started before it was registered is served once it is.
    let (_, serial) = node.hold(entitlement("/db", ours(), 2));
    for envoy in &mut waiting {
        assert_eq!(envoy.next().await.version_info, serial.to_string());
    }
    let mut next = Envoy::subscribe(channel, &["default"]).await;
    assert_eq!(next.next().await.version_info, serial.to_string());
}

#[tokio::test]
async fn a_caller_without_identity_asks_for_few_names() {
    let node = Node::start().await;
    node.hold(entitlement("/web", theirs(), 1));
    let names: Vec<String> = (0..129).map(|n| format!("{TRUST_DOMAIN}/{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut few = DeltaEnvoy::subscribe(node.channel().await, &names[..128], &[]).await;
    let mut many = DeltaEnvoy::subscribe(node.channel().await, &names, &[]).await;
    let refused = within(many.responses.message()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let (_, serial) = node.hold(entitlement("/7", ours(), 2));
    assert_eq!(versions(&few.accept().await)[names[7]], serial.to_string());
    // It is a caller like any other now.
    let all = DeltaDiscoveryRequest {
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    };
    few.requests.send(all).await.unwrap();
    assert_eq!(versions(&few.accept().await)[names[7]], serial.to_string());
}

#[tokio::test]
async fn a_request_that_is_never_finished_is_given_back() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let channel = node.channel().await;
    let mut half = vec![0, 0, 0x0f, 0xff, 0xff]; // almost a MiB
    half.extend([0x1a, 0x80, 0x80, 0x20]); // a name of half a MiB
    half.extend([b'a'; 100_000]);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let (frames, response) = raw(channel.clone()).await;
        send(&frames, &half);
        streams.push((frames, response));
    }
    until(|| node.api.held_bytes() >= 300_000).await;
    drop(streams);
    until(|| node.api.held_bytes() == 0).await;
}

/// Each may keep the frame that it came in.
#[tokio::test]
async fn names_that_a_connection_indexes_are_charged() {
    let node = Node::start().await;
    node.hold(entitlement("/web", ours(), 1));
    let mut connection = UnixStream::connect(node.socket()).await.unwrap();
    connection
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    connection
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    for name in 1..=FREE_NAMES + 2 {
        // A path with incremental indexing, on a stream of its own.
        let stream = u8::try_from(2 * name - 1).unwrap();
        let text = [b'/', b'a' + stream];
        let head = [0, 0, 4, 1, 5, 0, 0, 0, stream, 0x44, 2];
        connection.write_all(&head).await.unwrap();
        connection.write_all(&text).await.unwrap();
    }
    until(|| node.api.held_bytes() == 2 * FRAME_BYTES).await;
    drop(connection);
    until(|| node.api.held_bytes() == 0).await;
}
