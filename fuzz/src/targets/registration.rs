//! Registrations as an operator's client sends them.

use countersign_control_plane::api::admin::registration;
use countersign_proto::admin::Registration;
use jiff::Timestamp as Moment;
use prost::Message;
use prost_types::{Duration, Timestamp};

/// What is taken reads the same from what it is written as.
pub fn run(data: &[u8]) -> bool {
    let Some(written) = written(data) else {
        return false;
    };
    assert_eq!(
        canonical(&self::written(&written)),
        canonical(&Some(written))
    );
    true
}

/// A registration that an operator asks for, as the control plane writes it.
fn written(message: &[u8]) -> Option<Vec<u8>> {
    let asked = Registration::decode(message).ok()?;
    let request = registration::read(asked, Moment::UNIX_EPOCH).ok()?;
    Some(registration::written(&request.registration).encode_to_vec())
}

/// Labels are a map: their order on the wire is nobody's.
fn canonical(message: &Option<Vec<u8>>) -> Option<Registration> {
    Registration::decode(message.as_deref()?).ok()
}

/// On a node, and by hand, with everything that may be said.
pub fn seeds() -> Vec<Vec<u8>> {
    let on_node = Registration {
        id: "spiffe://example.org/web".to_owned(),
        node: "spiffe://example.org/node/a".to_owned(),
        selectors: vec!["unix:uid:1000".to_owned(), "unix:path:/bin/web".to_owned()],
        owner: "team-web".to_owned(),
        criticality: "critical".to_owned(),
        x509_ttl: Some(Duration {
            seconds: 3_600,
            nanos: 0,
        }),
        dns: vec!["web.example.org".to_owned()],
        hint: "internal".to_owned(),
        is_default: true,
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        expires_at: Some(Timestamp {
            seconds: 1_900_000_000,
            nanos: 0,
        }),
        ..Default::default()
    };
    let by_hand = Registration {
        id: "spiffe://example.org/plc".to_owned(),
        by_hand: true,
        owner: "plant".to_owned(),
        expires_in: Some(Duration {
            seconds: 86_400,
            nanos: 0,
        }),
        ..Default::default()
    };
    vec![on_node.encode_to_vec(), by_hand.encode_to_vec()]
}
