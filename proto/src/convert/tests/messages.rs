//! Discovery requests and responses over the wire.

use super::*;

#[test]
fn delta_requests_survive_the_wire() {
    let request = DeltaRequest {
        type_url: "t".into(),
        subscribe: vec!["a".into(), "*".into()],
        unsubscribe: vec!["b".into()],
        initial_versions: [("a".to_owned(), "1".to_owned())].into(),
        response_nonce: "7".into(),
        nack: Some(Nack::new(NackReason::KeyMismatch, "they do not match")),
    };
    let message = wire::DeltaDiscoveryRequest::from(request.clone());
    let decoded = wire::DeltaDiscoveryRequest::decode(&*message.encode_to_vec()).unwrap();
    assert_eq!(DeltaRequest::from(decoded), request);
}

#[test]
fn state_requests_survive_the_wire() {
    let request = StateRequest {
        type_url: "t".into(),
        version_info: "1".into(),
        names: vec!["b".into(), "a".into()],
        response_nonce: "7".into(),
        nack: Some(Nack::new(NackReason::Bundle, "no root")),
    };
    let message = wire::DiscoveryRequest::from(request.clone());
    let decoded = wire::DiscoveryRequest::decode(&*message.encode_to_vec()).unwrap();
    assert_eq!(StateRequest::from(decoded), request);
}

#[test]
fn responses_survive_the_wire() {
    let resources = vec![Resource::versioned(
        "t",
        "a",
        "1",
        bytes::Bytes::from_static(b"body"),
    )];
    let response = DeltaResponse {
        type_url: "t".into(),
        system_version: "1.2".into(),
        nonce: "3".into(),
        resources: resources.clone(),
        removed: vec!["b".into()],
    };
    let message = wire::DeltaDiscoveryResponse::from(response.clone());
    let decoded = wire::DeltaDiscoveryResponse::decode(&*message.encode_to_vec()).unwrap();
    assert_eq!(DeltaResponse::try_from(decoded), Ok(response));

    let message = wire::DiscoveryResponse::from(StateResponse {
        type_url: "t".into(),
        version_info: "1".into(),
        nonce: "3".into(),
        resources,
    });
    assert_eq!(
        (message.version_info.as_str(), message.nonce.as_str()),
        ("1", "3")
    );
    assert_eq!(message.resources[0].value, b"body");
    assert_eq!(message.resources[0].type_url, "t");
}

#[test]
fn malformed_responses_are_refused() {
    let good = || wire::DeltaDiscoveryResponse {
        resources: vec![wire::Resource {
            version: "1".into(),
            resource: Some(prost_types::Any::default()),
            name: "a".into(),
        }],
        ..Default::default()
    };
    assert!(DeltaResponse::try_from(good()).is_ok());
    let refused = |change: fn(&mut wire::DeltaDiscoveryResponse)| {
        let mut response = good();
        change(&mut response);
        DeltaResponse::try_from(response).unwrap_err().field
    };
    assert_eq!(refused(|r| r.resources[0].resource = None), "resource");
    assert_eq!(refused(|r| r.resources[0].name.clear()), "name");
    assert_eq!(refused(|r| r.resources[0].version.clear()), "version");
    assert_eq!(refused(|r| r.nonce = "n".repeat(257)), "nonce");
    assert_eq!(
        refused(|r| r.removed_resources = vec![String::new(); 16_385]),
        "removed_resources"
    );
}

#[test]
fn a_nack_is_cut_on_arrival() {
    let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
    let message = wire::DiscoveryRequest {
        error_detail: Some(wire::ErrorDetail {
            code: 13,
            message: format!("Proto constraint validation failed: private_key: \"{key}\""),
        }),
        version_info: "v".repeat(300),
        ..Default::default()
    };
    let shown = format!("{message:?}");
    assert!(!shown.contains("MIGH"), "{shown}");
    let request = StateRequest::from(message);
    let nack = request.nack.unwrap();
    assert_eq!(nack.reason, NackReason::Validation);
    assert!(!nack.text.contains("MIGH"));
    assert_eq!(
        request.version_info, "",
        "a version that long is none of ours"
    );
}

/// A length-delimited field, as the 61 kB node of an Envoy comes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encode_length_delimiter(content.len(), &mut bytes).unwrap();
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn the_node_of_an_envoy_is_skipped() {
    let node = vec![b'n'; 61_000];
    let state = wire::DiscoveryRequest {
        type_url: "t".into(),
        resource_names: vec!["a".into()],
        ..Default::default()
    };
    let bytes = [field(2, &node), state.encode_to_vec()].concat();
    assert_eq!(wire::DiscoveryRequest::decode(&*bytes), Ok(state));
    let delta = wire::DeltaDiscoveryRequest {
        type_url: "t".into(),
        resource_names_subscribe: vec!["a".into()],
        ..Default::default()
    };
    let bytes = [field(1, &node), delta.encode_to_vec()].concat();
    assert_eq!(wire::DeltaDiscoveryRequest::decode(&*bytes), Ok(delta));
}
