//! Entries of an issuance log.

use countersign_ca::entries;
use countersign_proto::convert::time::timestamp;
use countersign_proto::log::entry::What;
use countersign_proto::log::{Entry, Issued, Joined, Label, Opened, Refused, Sealed};
use prost::Message;

use super::material::{CHAIN, now};

/// What is taken reads the same from what it is written as.
pub fn run(data: &[u8]) -> bool {
    let Some(written) = written(data) else {
        return false;
    };
    assert_eq!(self::written(&written), Some(written));
    true
}

/// An entry, written again.
fn written(bytes: &[u8]) -> Option<Vec<u8>> {
    let (at, what) = entries::decode(bytes).ok()?;
    let what = match what? {
        What::Issued(issued) => entries::issued(&entries::issuance(at, issued).ok()?),
        other => other,
    };
    Some(entries::encode(at, what))
}

/// A certificate, the first entry, and refusals.
pub fn seeds() -> Vec<Vec<u8>> {
    let issued = Issued {
        tbs: to_be_signed(),
        profile: "x509-svid".to_owned(),
        node: "spiffe://example.org/node/a".to_owned(),
        entitlement: "node".to_owned(),
        owner: "team-web".to_owned(),
        criticality: "standard".to_owned(),
        labels: vec![Label {
            name: "env".to_owned(),
            value: "prod".to_owned(),
        }],
        issuer: "0a".repeat(20),
        renews: 7,
        key_epoch: Some(5),
        attested: Some(3),
        renews_log: 1 << 20,
    };
    let opened = Opened {
        trust_domain: "example.org".to_owned(),
        log_id: 1 << 20,
        epoch: 1,
    };
    let refused = Refused {
        caller: "spiffe://example.org/node/a".to_owned(),
        code: "not_entitled".to_owned(),
        count: 3,
        since: Some(timestamp(now())),
    };
    let whats = [
        What::Issued(issued),
        What::Opened(opened),
        What::Refused(refused),
        What::Sealed(Sealed {
            log_id: 1 << 20,
            size: 300,
            root_hash: vec![7; 32],
            replica: "b".to_owned(),
        }),
        What::Joined(Joined {
            log_id: 1 << 20,
            replica: "c".to_owned(),
        }),
    ];
    let entries = whats.map(|what| Entry {
        at: Some(timestamp(now())),
        what: Some(what),
    });
    entries.iter().map(Message::encode_to_vec).collect()
}

/// The to-be-signed part of the leaf: both headers of the certificate have four bytes.
fn to_be_signed() -> Vec<u8> {
    let tbs = &CHAIN.leaf[4..];
    let length = usize::from(u16::from_be_bytes([tbs[2], tbs[3]]));
    tbs[..4 + length].to_vec()
}
