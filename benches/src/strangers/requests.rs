//! What strangers send.

use bytes::{BufMut as _, Bytes, BytesMut};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::discovery::DeltaDiscoveryRequest;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;

/// Attestation: the one call of the control plane's API that anybody may make.
pub const ATTEST: &str = "/countersign.v1.NodeAttestation/AttestNode";
/// Enrolment, for nodes.
pub const ENROL: &str = "/countersign.v1.Mesh/Enrol";
/// The stream of a node.
pub const DISCOVER: &str = "/countersign.v1.Mesh/Discover";
/// Secrets, in the dialect that names what changes.
pub const DELTA: &str = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets";
/// Secrets, in the dialect that repeats the whole list.
pub const WHOLE: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";

/// Certificates of a workload, by the SPIFFE Workload API.
pub const WORKLOAD: &str = "/SpiffeWorkloadAPI/FetchX509SVID";

/// Bytes before each message of gRPC.
const PREFIX_BYTES: usize = 5;
/// The field of a secret request that holds a name, in both dialects.
const NAME_FIELD: u32 = 3;
/// Fields of which a table of HTTP/2 remembers each as one byte.
const INDEXED_FIELDS: usize = 100;
/// How often each of them is said in one head.
const REPEATS: usize = 2;
/// Longest name that an attacker of an earlier version used.
pub const NAME_BYTES: usize = 2_290;
/// Longest SPIFFE ID.
const ID_BYTES: usize = 2_048;

/// A message of so many bytes, of which the last is missing.
pub fn unfinished(announced: usize) -> Bytes {
    let mut bytes = prefix(announced);
    bytes.put_bytes(0, announced - 1);
    bytes.freeze()
}

/// A request for a secret with one name that never ends.
pub fn unfinished_name(announced: usize) -> Bytes {
    let mut bytes = prefix(announced);
    let key = u64::from(NAME_FIELD << 3 | 2);
    prost::encoding::encode_varint(key, &mut bytes);
    prost::encoding::encode_varint(announced as u64, &mut bytes);
    let missing = PREFIX_BYTES + announced - 1 - bytes.len();
    bytes.put_bytes(b'x', missing);
    bytes.freeze()
}

/// A message as it is sent.
pub fn framed(message: &impl Message) -> Bytes {
    let mut bytes = prefix(message.encoded_len());
    message.encode(&mut bytes).expect("a buffer that grows");
    bytes.freeze()
}

/// A subscription to names.
pub fn subscription(names: Vec<String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: SECRET_TYPE.to_owned(),
        resource_names_subscribe: names,
        ..DeltaDiscoveryRequest::default()
    }
}

/// An acknowledgement of a response that never was.
pub fn acknowledgement() -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: SECRET_TYPE.to_owned(),
        response_nonce: "0".to_owned(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// A name that nobody can have.
pub fn impossible(number: usize) -> String {
    padded(&number.to_string(), NAME_BYTES)
}

/// The longest name that could be ours.
pub fn possible(number: usize) -> String {
    let id = format!("spiffe://{}/{number}-", crate::issuance::TRUST_DOMAIN);
    padded(&id, ID_BYTES)
}

/// A head of many fields, which take one byte each after the first time.
pub fn heavy_head() -> HeaderMap {
    let mut fields = HeaderMap::new();
    for number in 0..INDEXED_FIELDS {
        let name = HeaderName::try_from(format!("f{number}")).expect("a valid name");
        for _ in 0..REPEATS {
            fields.append(name.clone(), HeaderValue::from_static(""));
        }
    }
    fields
}

fn padded(text: &str, length: usize) -> String {
    format!("{text:x<length$}")
}

fn prefix(length: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).expect("a length on the wire"));
    bytes
}
