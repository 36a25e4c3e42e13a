//! Between the admin messages and the model.

use countersign_model::{Hint, Registration, RegistrationKey};
use countersign_proto::admin as wire;
use countersign_proto::convert::entitlement::selector_set;
use countersign_proto::convert::time::{duration, read_duration, timestamp};
use jiff::Timestamp;
use tonic::Status;

use super::{invalid, spiffe_id};
use crate::authority::{AuthorityInfo, RegistrationRequest, SlotState};

/// Reads a registration that is asked for; the server's own fields are ignored.
pub(super) fn registration_request(
    asked: wire::Registration,
) -> Result<RegistrationRequest, Status> {
    let selectors = selector_set(&asked.selectors);
    let key = RegistrationKey {
        id: spiffe_id("id", &asked.id)?,
        node: spiffe_id("node", &asked.node)?,
        selectors: selectors.map_err(|e| invalid("invalid_selectors", e.to_string()))?,
    };
    let ttl = asked
        .x509_ttl
        .map(|ttl| read_duration("x509_ttl", Some(ttl)));
    let criticality = match asked.criticality.as_str() {
        "" => Ok(Default::default()),
        text => text.parse(),
    };
    let hint = match asked.hint.as_str() {
        "" => None,
        _ => Some(Hint::try_from(asked.hint)),
    };
    let registration = Registration {
        key,
        owner: asked.owner,
        criticality: criticality.map_err(|e: &str| invalid("invalid_criticality", e))?,
        x509_ttl: ttl
            .transpose()
            .map_err(|e| invalid("invalid_x509_ttl", e.to_string()))?,
        dns: asked.dns,
        hint: hint
            .transpose()
            .map_err(|e| invalid("invalid_hint", e.to_string()))?,
        is_default: asked.is_default,
        created_at: Timestamp::UNIX_EPOCH,
        created_seq: 0,
    };
    Ok(RegistrationRequest { registration })
}

/// Writes a registration.
pub(super) fn registration(it: &Registration) -> wire::Registration {
    wire::Registration {
        id: it.key.id.to_string(),
        node: it.key.node.to_string(),
        selectors: it.key.selectors.iter().map(ToString::to_string).collect(),
        owner: it.owner.clone(),
        criticality: it.criticality.as_str().to_owned(),
        x509_ttl: it.x509_ttl.map(duration),
        dns: it.dns.clone(),
        hint: it
            .hint
            .as_ref()
            .map_or_else(String::new, |hint| hint.as_str().to_owned()),
        is_default: it.is_default,
        entitlement: it.key.entitlement_id().to_string(),
        created_at: Some(timestamp(it.created_at)),
    }
}

/// Writes an authority.
pub(super) fn authority(it: &AuthorityInfo) -> wire::Authority {
    let state = match it.state {
        SlotState::Prepared => "prepared",
        SlotState::Active => "active",
        SlotState::Retired => "retired",
    };
    wire::Authority {
        key_id: it.key_id.clone(),
        subject: it.subject.clone(),
        state: state.to_owned(),
        not_before: Some(timestamp(it.not_before)),
        not_after: Some(timestamp(it.not_after)),
        issued_by: it.issued_by.clone(),
        serial: it.serial.to_string(),
    }
}
