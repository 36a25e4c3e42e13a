//! Keys of one call: judged one by one, each with an answer of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use countersign_proto::MAX_ENROLMENTS;
use countersign_proto::mesh::node_attestation_client::NodeAttestationClient;
use countersign_proto::mesh::{AttestNodeRequest, Enrolment, Hello, KeyProof};
use countersign_verify::proof::{MAX_SIGNATURE_BYTES, MAX_SPKI_BYTES};
use rcgen::KeyPair;
use tonic::Code;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::harness::*;
use crate::session::{enrolment, hello};

/// A fresh key for an entitlement.
fn fresh(session: &Session, entitlement: &str) -> Enrolment {
    let key = KeyPair::generate().unwrap();
    proven(session, entitlement, &key)
}

fn proven(session: &Session, entitlement: &str, key: &KeyPair) -> Enrolment {
    enrolment(entitlement, key_proof(key, &session.exporter, entitlement))
}

/// Entitlements of a node, for so many workloads.
async fn entitlements(plane: &Plane, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for workload in 0..count {
        let id = format!("{WEB}/{workload}");
        let registered = plane.register(&id, NODE_A).await;
        names.push(registered["entitlement"].as_str().unwrap().to_owned());
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_a_call_is_certified() {
    let plane = Plane::start().await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    let names = entitlements(&plane, 5).await;
    // Two keys for one entitlement are two renewals, whichever is first.
    let asked = (0..MAX_ENROLMENTS).map(|n| fresh(&session, &names[n % names.len()]));
    let answers = session.enrol_all(asked.collect()).await.unwrap();
    let serials: BTreeSet<_> = answers.into_iter().map(|it| it.unwrap().serial).collect();
    assert_eq!(serials.len(), MAX_ENROLMENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_harms_no_other_of_its_call() {
    let plane = Plane::start().await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    let names = entitlements(&plane, 2).await;
    let foreign = plane.register(&format!("{WEB}/b"), NODE_B).await;
    let foreign = foreign["entitlement"].as_str().unwrap();
    let forged = key_proof(&KeyPair::generate().unwrap(), &[0; 32], &names[0]);
    let short = KeyProof {
        spki: vec![0x30],
        ..key_proof(&KeyPair::generate().unwrap(), &session.exporter, "node")
    };
    let without_key = Enrolment {
        key: None,
        ..enrolment("node", short.clone())
    };
    let answers = session.enrol_all(vec![
        fresh(&session, &names[0]),
        enrolment("no such name", short.clone()),
        without_key,
        enrolment("node", short),
        enrolment(&names[0], forged),
        fresh(&session, foreign),
        fresh(&session, &names[1]),
    ]);
    let answers = answers.await.unwrap().into_iter();
    let codes: Vec<_> = answers.map(|it| it.err().map(|it| it.code())).collect();
    let (malformed, denied) = (Some(Code::InvalidArgument), Some(Code::PermissionDenied));
    let refused = [malformed, malformed, denied, denied, Some(Code::NotFound)];
    assert_eq!(
        (codes[0], &codes[1..6], codes[6]),
        (None, &refused[..], None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_for_two_entitlements_of_a_call_gets_one() {
    let plane = Plane::start().await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    let names = entitlements(&plane, 2).await;
    let key = KeyPair::generate().unwrap();
    let both = names.iter().map(|name| proven(&session, name, &key));
    let answers = session.enrol_all(both.collect()).await.unwrap();
    let refused: Vec<_> = answers.iter().filter_map(|it| it.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "{answers:?}");
    assert!(refused[0].message().contains("another identity"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_a_bounded_number_of_keys() {
    let plane = Plane::start().await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    for count in [0, MAX_ENROLMENTS + 1, 10 * MAX_ENROLMENTS] {
        let asked = vec![fresh(&session, "node"); count];
        let refused = session.enrol_all(asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{count}");
        assert!(refused.message().contains("1 to 100"), "{refused}");
    }
    session
        .enrol_all(vec![fresh(&session, "node")])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_taken_in_than_a_call_can_need() {
    let plane = Plane::start().await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    let longest = Enrolment {
        entitlement: format!("reg-{}", "0".repeat(32)),
        key: Some(KeyProof {
            spki: vec![0x30; MAX_SPKI_BYTES],
            signature_scheme: u32::MAX,
            signature: vec![0x30; MAX_SIGNATURE_BYTES],
        }),
    };
    let answers = session.enrol_all(vec![longest; MAX_ENROLMENTS]).await;
    assert_eq!(answers.unwrap().len(), MAX_ENROLMENTS);
    // Two bytes each on the wire.
    let (stranger, another) = (plane.dial(None).await, plane.dial(None).await);
    for (enrols, attests, code) in [
        (&session, &session, Code::OutOfRange),
        (&stranger, &another, Code::Unauthenticated),
    ] {
        let empty = vec![Enrolment::default(); 150_000];
        let refused = enrols.enrol_all(empty).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        // Nobody has to be known for this to be decoded.
        let chatty = AttestNodeRequest {
            hello: Some(Hello {
                capabilities: vec![String::new(); 40_000],
                ..hello()
            }),
            ..AttestNodeRequest::default()
        };
        let mut client = NodeAttestationClient::new(attests.channel.clone());
        let refused = client.attest_node(chatty).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_too_large_never_waits() {
    let plane = Plane::with("[admission]\nrate_per_caller = 1\nburst_per_caller = 1\n").await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    let large = |spki, signature| {
        let large = KeyProof {
            spki: vec![0x30; spki],
            signature_scheme: 0x0403,
            signature: vec![0x30; signature],
        };
        enrolment("node", large)
    };
    let answers = session.enrol_all(vec![
        large(MAX_SPKI_BYTES + 1, 0),
        large(0, MAX_SIGNATURE_BYTES + 1),
        fresh(&session, "node"),
    ]);
    let answers = answers.await.unwrap().into_iter();
    let codes: Vec<_> = answers.map(|it| it.err().map(|it| it.code())).collect();
    // They took nothing of the rate: they were never at the gate.
    let malformed = Some(Code::InvalidArgument);
    assert_eq!(codes, [malformed, malformed, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_a_call_counts_against_the_rate() {
    let plane = Plane::with("[admission]\nrate_per_caller = 1\nburst_per_caller = 10\n").await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    let asked = (0..MAX_ENROLMENTS).map(|_| fresh(&session, "node"));
    let answers = session.enrol_all(asked.collect()).await.unwrap();
    let (granted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(granted.len() <= 12, "{}", granted.len());
    for answer in refused {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    }
}

/// Counts the warnings about enrolments.
struct Warnings(Arc<AtomicU64>);

impl Subscriber for Warnings {
    /// Only this thread's: other tests must not take part of what may be written.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target() == "countersign_control_plane::api::mesh::enrolling";
        is_ours && *metadata.level() == Level::WARN
    }
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// On one thread, whose lines are counted.
#[tokio::test]
async fn refused_keys_are_a_bounded_number_of_lines() {
    const CALLS: usize = 6;
    const LINES_PER_SECOND: u64 = 15;
    let lines = Arc::new(AtomicU64::new(0));
    let _counted = tracing::subscriber::set_default(Warnings(lines.clone()));
    let plane = Plane::start().await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    let forged = key_proof(&KeyPair::generate().unwrap(), &[0; 32], "node");
    let begun = Instant::now();
    for _ in 0..CALLS {
        // Whether a line is wanted was perhaps asked first on a thread that counts none.
        tracing::callsite::rebuild_interest_cache();
        let asked = vec![enrolment("node", forged.clone()); MAX_ENROLMENTS];
        let answers = session.enrol_all(asked).await.unwrap();
        assert!(answers.iter().all(Result::is_err));
    }
    let lines = lines.load(Ordering::Relaxed);
    let seconds = begun.elapsed().as_secs() + 2;
    assert!(lines > 0);
    assert!(
        lines <= LINES_PER_SECOND * seconds,
        "{lines} in {seconds} s"
    );
}
