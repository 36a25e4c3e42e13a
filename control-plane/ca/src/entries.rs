//! Between certificates and the entries of the log. What the to-be-signed bytes say is read from
//! them again and not kept a second time beside them.

use countersign_model::{Coordinate, Seq, Serial};
use countersign_proto::convert::time::{read_timestamp, timestamp};
use countersign_proto::log::entry::What;
use countersign_proto::log::{Entry, Issued, Label};
use countersign_registry::Account;
use jiff::Timestamp;
use prost::Message;
use sha2::{Digest, Sha256};
use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use countersign_issue::issuance::Issuance;
use countersign_issue::profile::Profile;

/// An entry that no control plane of ours wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a log entry does not read")]
pub struct Unreadable;

/// The bytes of an entry.
pub fn encode(at: Timestamp, what: What) -> Vec<u8> {
    let entry = Entry {
        at: Some(timestamp(at)),
        what: Some(what),
    };
    entry.encode_to_vec()
}

/// When an entry was made and what it says; `None` for a kind of a newer version.
pub fn decode(bytes: &[u8]) -> Result<(Timestamp, Option<What>), Unreadable> {
    let entry = Entry::decode(bytes).map_err(|_| Unreadable)?;
    let at = read_timestamp("at", entry.at).map_err(|_| Unreadable)?;
    Ok((at, entry.what))
}

/// The entry of a certificate.
pub fn issued(issuance: &Issuance) -> What {
    What::Issued(Issued {
        tbs: issuance.tbs.clone(),
        profile: issuance.profile.as_str().to_owned(),
        node: issuance.node.clone(),
        entitlement: issuance.entitlement.clone(),
        owner: issuance.account.owner.clone(),
        criticality: issuance.account.criticality.as_str().to_owned(),
        labels: labels(&issuance.account),
        issuer: issuance.issuer.clone(),
        renews: issuance.renews.map_or(0, |renewed| renewed.index() + 1),
        renews_log: issuance.renews.map_or(0, |renewed| {
            let is_here = renewed.log_id() == issuance.serial.log_id();
            if is_here { 0 } else { renewed.log_id() }
        }),
        key_epoch: issuance.key_epoch,
        attested: issuance.attested.map(|seq| seq.0),
    })
}

/// The serial of the certificate of an entry.
pub fn serial(issued: &Issued) -> Result<Serial, Unreadable> {
    let (_, tbs) = TbsCertificate::from_der(&issued.tbs).map_err(|_| Unreadable)?;
    Serial::from_bytes(tbs.raw_serial()).map_err(|_| Unreadable)
}

/// The certificate of an entry.
pub fn issuance(at: Timestamp, issued: Issued) -> Result<Issuance, Unreadable> {
    let (_, tbs) = TbsCertificate::from_der(&issued.tbs).map_err(|_| Unreadable)?;
    let end = tbs.validity().not_after.timestamp();
    let serial = Serial::from_bytes(tbs.raw_serial()).map_err(|_| Unreadable)?;
    let renewed_in = match issued.renews_log {
        0 => serial.log_id(),
        other => other,
    };
    let renews = issued.renews.checked_sub(1);
    let renews = renews.map(|index| Coordinate::new(renewed_in, index));
    Ok(Issuance {
        serial,
        profile: Profile::named(&issued.profile).ok_or(Unreadable)?,
        spiffe_id: uri(&tbs).ok_or(Unreadable)?,
        node: issued.node,
        entitlement: issued.entitlement,
        spki_sha256: Sha256::digest(tbs.public_key().raw).into(),
        issuer: issued.issuer,
        issued_at: at,
        not_after: Timestamp::from_second(end).map_err(|_| Unreadable)?,
        account: Account {
            owner: issued.owner,
            criticality: issued.criticality.parse().map_err(|_| Unreadable)?,
            labels: issued
                .labels
                .into_iter()
                .map(|label| (label.name, label.value))
                .collect(),
        },
        renews: renews.transpose().map_err(|_| Unreadable)?,
        key_epoch: issued.key_epoch,
        attested: issued.attested.map(Seq),
        order: serial.index(),
        tbs: issued.tbs,
    })
}

fn labels(account: &Account) -> Vec<Label> {
    let labels = account.labels.iter().map(|(name, value)| Label {
        name: name.clone(),
        value: value.clone(),
    });
    labels.collect()
}

fn uri(tbs: &TbsCertificate<'_>) -> Option<String> {
    let san = tbs.subject_alternative_name().ok()??;
    san.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    })
}
