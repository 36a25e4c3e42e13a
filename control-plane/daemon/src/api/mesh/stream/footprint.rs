//! What the stream of one node keeps in memory, whatever the node asks for.

use std::sync::Arc;

use countersign_discovery::{
    DeltaRequest, DeltaSession, Limits, Resource, SessionError, Stamp, Standing, View,
};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::ENTITLEMENT_TYPE;

use countersign_footprint::{alone, kept_by};

/// Everything that is asked for is there.
struct Everything;

impl View for Everything {
    fn stamp(&self) -> Stamp {
        Stamp::default()
    }
    fn standing(&self, type_url: &str, name: &str) -> Standing {
        let body = bytes::Bytes::from_static(b"chain");
        Standing::Present(Resource::versioned(type_url, name, &"1".repeat(32), body))
    }
    fn names(&self, _: &str) -> Vec<Arc<str>> {
        Vec::new()
    }
    fn serves(&self, _: &str) -> bool {
        true
    }
}

fn names(from: usize, count: usize) -> Vec<String> {
    (from..from + count)
        .map(|n| format!("reg-{n:032x}"))
        .collect()
}

#[test]
fn full_stream_of_a_node_keeps_a_bounded_number_of_bytes() {
    let most = Limits::default().names;
    alone(
        "api::mesh::stream::footprint::full_stream_of_a_node_keeps_a_bounded_number_of_bytes",
        || {
            let (session, kept) = kept_by(|| {
                let mut session = DeltaSession::new(Limits::default());
                for (type_url, from) in [(SECRET_TYPE, 0), (ENTITLEMENT_TYPE, most / 2)] {
                    let subscribe = names(from, most / 2);
                    let held = subscribe.iter().map(|name| (name.clone(), "0".repeat(32)));
                    let request = DeltaRequest {
                        type_url: type_url.to_owned(),
                        initial_versions: held.collect(),
                        subscribe,
                        ..DeltaRequest::default()
                    };
                    session.handle(&request, &Everything).unwrap();
                }
                // As many responses as may wait for an answer.
                while session.poll_touched(&Everything).is_some() {}
                session
            });
            eprintln!("{} bytes a name", kept / most);
            assert!(kept < 16 << 20, "{kept} bytes");
            assert!(kept <= session.bytes(), "{kept} of {}", session.bytes());
            let mut session = session;
            let one_more = DeltaRequest {
                type_url: SECRET_TYPE.to_owned(),
                subscribe: names(2 * most, 1),
                ..DeltaRequest::default()
            };
            let refused = session.handle(&one_more, &Everything);
            assert_eq!(refused, Err(SessionError::TooManyNames { limit: most }));
        },
    );
}

/// As [`Everything`], of which nothing is there.
struct Nothing;

impl View for Nothing {
    fn stamp(&self) -> Stamp {
        Stamp::default()
    }
    fn standing(&self, _: &str, _: &str) -> Standing {
        Standing::Absent
    }
    fn names(&self, _: &str) -> Vec<Arc<str>> {
        Vec::new()
    }
    fn serves(&self, _: &str) -> bool {
        true
    }
}

#[test]
fn stream_that_swaps_names_keeps_what_it_kept() {
    let most = Limits::default().names - 1;
    alone(
        "api::mesh::stream::footprint::stream_that_swaps_names_keeps_what_it_kept",
        || {
            let (session, kept) = kept_by(|| {
                let mut session = DeltaSession::new(Limits::default());
                let mut subscribe = vec!["*".to_owned()];
                let mut unsubscribe = Vec::new();
                for round in 0..6 {
                    subscribe.extend(names(round * most, most));
                    let request = DeltaRequest {
                        type_url: SECRET_TYPE.to_owned(),
                        unsubscribe: std::mem::replace(&mut unsubscribe, subscribe.clone()),
                        subscribe: std::mem::take(&mut subscribe),
                        ..DeltaRequest::default()
                    };
                    unsubscribe.retain(|name| name != "*");
                    session.handle(&request, &Nothing).unwrap();
                    assert!(session.poll_touched(&Nothing).is_none());
                }
                session
            });
            assert!(kept < 16 << 20, "{kept} bytes");
            assert!(kept <= session.bytes(), "{kept} of {}", session.bytes());
        },
    );
}
