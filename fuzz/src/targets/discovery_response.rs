//! What a control plane says on the stream, as a sidecar takes it in.

use countersign_discovery::{DeltaClient, DeltaResponse};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::convert::discovery::MAX_RESPONSE_RESOURCES;
use countersign_proto::discovery as wire;
use prost::Message;
use prost_types::Any;

const NAME: &str = "node";

/// Only what is wanted changes, nothing counts as held before it is accepted, and no older state
/// comes after a newer one.
pub fn run(data: &[u8]) -> bool {
    let Ok(message) = wire::DeltaDiscoveryResponse::decode(data) else {
        return false;
    };
    let Ok(response) = DeltaResponse::try_from(message) else {
        return false;
    };
    assert!(response.resources.len() <= MAX_RESPONSE_RESOURCES);
    let again = wire::DeltaDiscoveryResponse::from(response.clone());
    assert_eq!(DeltaResponse::try_from(again).as_ref(), Ok(&response));
    let mut client = DeltaClient::new();
    client.subscribe(SECRET_TYPE, NAME);
    let Ok(received) = client.handle(response.clone()) else {
        return false;
    };
    assert!(received.changes.iter().all(|change| change.name() == NAME));
    assert_eq!(client.held(SECRET_TYPE, NAME), None);
    client.accept(&received);
    assert_eq!(client.seen(), received.stamp);
    assert_eq!(
        client.handle(response).map(|received| received.stamp),
        Ok(client.seen())
    );
    true
}

/// Something new, and something that was removed.
pub fn seeds() -> Vec<Vec<u8>> {
    let present = wire::DeltaDiscoveryResponse {
        system_version_info: "1.7".to_owned(),
        resources: vec![wire::Resource {
            name: NAME.to_owned(),
            version: "2".to_owned(),
            resource: Some(Any {
                type_url: SECRET_TYPE.to_owned(),
                value: b"it".to_vec(),
            }),
        }],
        type_url: SECRET_TYPE.to_owned(),
        nonce: "9".to_owned(),
        removed_resources: Vec::new(),
    };
    let removed = wire::DeltaDiscoveryResponse {
        resources: Vec::new(),
        removed_resources: vec![NAME.to_owned(), "other".to_owned()],
        ..present.clone()
    };
    vec![present.encode_to_vec(), removed.encode_to_vec()]
}
