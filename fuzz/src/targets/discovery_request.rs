//! What a consumer says on its stream, in both dialects, up to the answer.

use std::sync::Arc;

use bytes::Bytes;
use countersign_discovery::{
    DeltaRequest, DeltaSession, Limits, Outcome, Resource, Stamp, Standing, StateRequest,
    StateSession, View,
};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::ENTITLEMENT_TYPE;
use countersign_proto::discovery as wire;
use prost::Message;

const NAME: &str = "node";
const LIMITS: Limits = Limits {
    names: 8,
    name_bytes: 64,
    bytes: 64 * 1024,
    unanswered: 4,
};
/// Responses that a request brings about at most: one a type, and one for each name.
const MAX_RESPONSES: usize = LIMITS.names + 2;

/// One resource of each type, and one that was removed.
struct World;

impl View for World {
    fn stamp(&self) -> Stamp {
        Stamp {
            epoch: 1,
            sequence: 1,
        }
    }

    fn standing(&self, type_url: &str, name: &str) -> Standing {
        match name {
            NAME => Standing::Present(Resource::hashed(type_url, name, Bytes::from_static(b"it"))),
            "gone" => Standing::Removed,
            _ => Standing::Absent,
        }
    }

    fn names(&self, _: &str) -> Vec<Arc<str>> {
        vec![NAME.into(), "gone".into()]
    }

    fn serves(&self, type_url: &str) -> bool {
        [SECRET_TYPE, ENTITLEMENT_TYPE].contains(&type_url)
    }
}

/// The same request twice on each dialect: sessions answer within their bounds and come to rest.
pub fn run(data: &[u8]) -> bool {
    let delta = wire::DeltaDiscoveryRequest::decode(data).is_ok_and(|request| {
        let request = DeltaRequest::from(request);
        let mut session = DeltaSession::new(LIMITS);
        let taken = [(); 2].map(|()| {
            let outcomes = session.handle(&request, &World);
            let responses = std::iter::from_fn(|| session.poll(&World)).take(MAX_RESPONSES + 1);
            assert!(responses.count() <= MAX_RESPONSES);
            outcomes.is_ok_and(|outcomes| are_bounded(&outcomes))
        });
        taken[0]
    });
    let state = wire::DiscoveryRequest::decode(data).is_ok_and(|request| {
        let request = StateRequest::from(request);
        let mut session = StateSession::new(LIMITS);
        let taken = [(); 2].map(|()| {
            let outcomes = session.handle(&request, &World);
            let responses = std::iter::from_fn(|| session.poll(&World)).take(MAX_RESPONSES + 1);
            assert!(responses.count() <= MAX_RESPONSES);
            outcomes.is_ok_and(|outcomes| are_bounded(&outcomes))
        });
        taken[0]
    });
    delta || state
}

fn are_bounded(outcomes: &[Outcome]) -> bool {
    let subscribed = |outcome: &&Outcome| matches!(outcome, Outcome::Subscribed { .. });
    assert!(outcomes.iter().filter(subscribed).count() <= LIMITS.names);
    for outcome in outcomes {
        if let Outcome::Subscribed { type_url, name } = outcome {
            assert!(World.serves(type_url) && name.len() <= LIMITS.name_bytes);
        }
    }
    true
}

/// A first request with what is held, an acknowledgement, a refusal, and one of the other dialect.
pub fn seeds() -> Vec<Vec<u8>> {
    let first = wire::DeltaDiscoveryRequest {
        type_url: SECRET_TYPE.to_owned(),
        resource_names_subscribe: vec![NAME.to_owned(), "other".to_owned()],
        initial_resource_versions: [(NAME.to_owned(), "1".to_owned())].into(),
        ..Default::default()
    };
    let all = wire::DeltaDiscoveryRequest {
        type_url: ENTITLEMENT_TYPE.to_owned(),
        resource_names_subscribe: vec!["*".to_owned()],
        resource_names_unsubscribe: vec!["gone".to_owned()],
        ..Default::default()
    };
    let refusal = wire::DeltaDiscoveryRequest {
        type_url: SECRET_TYPE.to_owned(),
        response_nonce: "1".to_owned(),
        error_detail: Some(wire::ErrorDetail {
            code: 13,
            message: "Failed to load private key from <inline>".to_owned(),
        }),
        ..Default::default()
    };
    let state = wire::DiscoveryRequest {
        version_info: "1".to_owned(),
        resource_names: vec![NAME.to_owned()],
        type_url: SECRET_TYPE.to_owned(),
        response_nonce: "1".to_owned(),
        ..Default::default()
    };
    let mut seeds: Vec<_> = [first, all, refusal]
        .iter()
        .map(Message::encode_to_vec)
        .collect();
    seeds.push(state.encode_to_vec());
    seeds
}
