//! A control plane in a folder, and nodes that attested there, for the tests of this API.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_attest::attestor::SessionFacts;
use countersign_authority::{AttestedNode, ProvenKey, PublishedSvid};
use countersign_model::{EntitlementId, SpiffeId};
use countersign_proto::mesh::JoinTokenEvidence;
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_verify::proof;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};

use crate::app::{Running, start};
use crate::clock::Clock;
use crate::config::Config;
use crate::entropy::OsEntropy;
use crate::plane::Plane;

/// The exporter of the session that every key is proved on.
pub(super) const EXPORTER: [u8; 32] = [7; 32];
const ECDSA_P256: u16 = 0x0403;

/// A control plane of example.org.
pub(super) async fn running(folder: &Path) -> Running {
    let file = folder.join("control-plane.toml");
    let text = "trust_domain = \"example.org\"\ndata_dir = \"./cp\"\n[api]\n\
                listen = \"127.0.0.1:0\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&file, text).unwrap();
    let config = Config::read(&file).unwrap();
    let entropy = Arc::new(OsEntropy);
    start(&config, Clock::wall(), entropy).await.unwrap()
}

/// The key of a node, proved.
pub(super) fn proven(pair: &KeyPair) -> ProvenKey {
    let (own, spki) = (EntitlementId::node(), pair.subject_public_key_info());
    let message = proof::message(&EXPORTER, own.as_str(), &spki);
    let signature = pair.sign(&message).unwrap();
    ProvenKey::check(&spki, ECDSA_P256, &signature, &EXPORTER, &own).unwrap()
}

/// Attests `/node/a` and has the key certified.
pub(super) async fn attested(plane: &Plane, key: &ProvenKey) -> (AttestedNode, Arc<PublishedSvid>) {
    let node = SpiffeId::new("spiffe://example.org/node/a").unwrap();
    let (authority, now) = (&plane.authority, plane.clock.now());
    let ttl = Duration::from_secs(60);
    let (token, _) = authority.create_token(&node, ttl, now).await.unwrap();
    let evidence = Evidence::JoinToken(JoinTokenEvidence { token });
    let facts = SessionFacts {
        spki_sha256: key.spki_sha256(),
        exporter: EXPORTER,
        now,
    };
    let node = authority.attest(evidence, key, facts).await.unwrap();
    let own = EntitlementId::node();
    let svid = authority.enrol(&node, &own, key, now).await.unwrap();
    (node, svid)
}
