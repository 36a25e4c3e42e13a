//! One entry of the log, as an auditor sees it.

use countersign_model::Serial;
use countersign_proto::convert::time::read_timestamp;
use countersign_proto::log::entry::What;
use countersign_proto::log::{Entry, Issued, Rotated};
use jiff::Timestamp;
use prost::Message;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// What a to-be-signed certificate in the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certified {
    /// Its serial number: the coordinate of its entry.
    pub serial: Serial,
    /// The URI of its subject alternative name: for an X.509-SVID the SPIFFE ID.
    pub id: Option<String>,
    /// SHA-256 of the SubjectPublicKeyInfo.
    #[serde(serialize_with = "as_hex")]
    pub spki_sha256: [u8; 32],
    /// Until when it is valid.
    pub not_after: Option<Timestamp>,
}

fn as_hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

/// An entry, decoded.
pub(crate) fn decode(bytes: &[u8]) -> Result<Entry, String> {
    Entry::decode(bytes).map_err(|error| format!("is no entry: {error}"))
}

/// The stable name of a kind; `unknown` for what a later version writes.
pub(crate) fn kind(entry: &Entry) -> &'static str {
    match &entry.what {
        Some(What::Opened(_)) => "opened",
        Some(What::Issued(_)) => "issued",
        Some(What::Revoked(_)) => "revoked",
        Some(What::Registered(_)) => "registered",
        Some(What::Removed(_)) => "removed",
        Some(What::Rotated(_)) => "rotated",
        Some(What::Refused(_)) => "refused",
        Some(What::Restored(_)) => "restored",
        Some(What::Voided(_)) => "voided",
        Some(What::Evicted(_)) => "evicted",
        Some(What::Unbanned(_)) => "unbanned",
        Some(What::Waived(_)) => "waived",
        Some(What::Unwaived(_)) => "unwaived",
        Some(What::Sealed(_)) => "sealed",
        Some(What::Joined(_)) => "joined",
        None => "unknown",
    }
}

/// When the control plane made the entry.
pub(crate) fn made_at(entry: &Entry) -> Option<Timestamp> {
    read_timestamp("at", entry.at).ok()
}

/// Reads the to-be-signed certificate of an entry.
pub(crate) fn certified(issued: &Issued) -> Result<Certified, String> {
    let (rest, tbs) = TbsCertificate::from_der(&issued.tbs)
        .map_err(|error| format!("holds no to-be-signed certificate: {error}"))?;
    if !rest.is_empty() {
        return Err("holds bytes behind its to-be-signed certificate".to_owned());
    }
    let serial = Serial::from_bytes(tbs.raw_serial())
        .map_err(|error| format!("holds a serial that is {error}"))?;
    let not_after = tbs.validity().not_after.timestamp();
    Ok(Certified {
        serial,
        id: uri(&tbs),
        spki_sha256: Sha256::digest(tbs.public_key().raw).into(),
        not_after: Timestamp::from_second(not_after).ok(),
    })
}

fn uri(tbs: &TbsCertificate<'_>) -> Option<String> {
    let names = tbs.subject_alternative_name().ok()??;
    names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
}

/// Name and value of what a line about the entry shows: none by the name of what each line has, its index,
/// its time and its kind.
pub(crate) fn facts(entry: &Entry) -> Vec<(&'static str, String)> {
    match &entry.what {
        Some(What::Opened(opened)) => vec![
            ("trust_domain", opened.trust_domain.clone()),
            ("log_id", format!("{:06x}", opened.log_id)),
            ("epoch", opened.epoch.to_string()),
        ],
        Some(What::Issued(issued)) => of_issued(issued),
        Some(What::Revoked(revoked)) => vec![
            ("serial", hex::encode(&revoked.serial)),
            ("reason", revoked.reason.clone()),
        ],
        Some(What::Registered(registered)) => vec![
            ("entitlement", registered.entitlement.clone()),
            ("registration", registered.registration.clone()),
            ("updated", registered.updated.to_string()),
        ],
        Some(What::Removed(removed)) => vec![
            ("entitlement", removed.entitlement.clone()),
            ("id", removed.id.clone()),
            ("node", removed.node.clone()),
            ("reason", removed.reason.clone()),
        ],
        Some(What::Rotated(rotated)) => of_rotated(rotated),
        Some(What::Refused(refused)) => vec![
            ("caller", refused.caller.clone()),
            ("code", refused.code.clone()),
            ("count", refused.count.to_string()),
        ],
        Some(What::Restored(restored)) => vec![
            ("epoch", restored.epoch.to_string()),
            ("backup_size", restored.backup_size.to_string()),
        ],
        Some(What::Voided(voided)) => vec![("takes_back", voided.index.to_string())],
        Some(What::Evicted(evicted)) => vec![
            ("node", evicted.node.clone()),
            ("banned", evicted.banned.to_string()),
            ("reason", evicted.reason.clone()),
            ("operator", evicted.operator.clone()),
        ],
        Some(What::Unbanned(unbanned)) => vec![
            ("node", unbanned.node.clone()),
            ("reason", unbanned.reason.clone()),
            ("operator", unbanned.operator.clone()),
        ],
        Some(What::Waived(waived)) => vec![
            ("consumer", waived.consumer.clone()),
            ("root", waived.root.clone()),
            ("until", time(waived.until)),
            ("reason", waived.reason.clone()),
            ("operator", waived.operator.clone()),
        ],
        Some(What::Unwaived(unwaived)) => vec![
            ("consumer", unwaived.consumer.clone()),
            ("root", unwaived.root.clone()),
            ("operator", unwaived.operator.clone()),
        ],
        Some(What::Sealed(sealed)) => vec![
            ("log_id", format!("{:06x}", sealed.log_id)),
            ("size", sealed.size.to_string()),
            ("root_hash", hex::encode(&sealed.root_hash)),
            ("replica", sealed.replica.clone()),
        ],
        Some(What::Joined(joined)) => vec![
            ("log_id", format!("{:06x}", joined.log_id)),
            ("replica", joined.replica.clone()),
        ],
        None => Vec::new(),
    }
}

fn time(at: Option<prost_types::Timestamp>) -> String {
    let read = read_timestamp("until", at);
    read.map_or_else(|_| String::new(), |at| at.to_string())
}

fn of_rotated(rotated: &Rotated) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("tier", rotated.tier.clone()),
        ("key_id", rotated.key_id.clone()),
        ("state", rotated.state.clone()),
    ];
    if !rotated.replica.is_empty() {
        facts.push(("replica", rotated.replica.clone()));
    }
    facts
}

fn of_issued(issued: &Issued) -> Vec<(&'static str, String)> {
    let certified = certified(issued).ok();
    let serial = certified.as_ref().map(|found| found.serial.to_string());
    let not_after = certified.as_ref().and_then(|found| found.not_after);
    let id = certified.and_then(|found| found.id);
    let labels = issued.labels.iter();
    let labels: Vec<String> = labels
        .map(|label| format!("{}={}", label.name, label.value))
        .collect();
    let facts = [
        ("id", id.unwrap_or_default()),
        ("serial", serial.unwrap_or_default()),
        ("profile", issued.profile.clone()),
        ("node", issued.node.clone()),
        ("entitlement", issued.entitlement.clone()),
        ("owner", issued.owner.clone()),
        ("criticality", issued.criticality.clone()),
        ("labels", labels.join(",")),
        ("issuer", issued.issuer.clone()),
        (
            "not_after",
            not_after.map_or_else(String::new, |at| at.to_string()),
        ),
    ];
    facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}
