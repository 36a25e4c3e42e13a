//! A registration, between the message of the admin API and the model.

use std::collections::BTreeSet;
use std::fmt::Display;

use countersign_authority::{Field, Mode, RegistrationRequest};
use countersign_model::{Hint, Registration, RegistrationKey, Selector, SelectorSet};
use countersign_proto::admin as wire;
use countersign_proto::convert::entitlement::selector_set;
use countersign_proto::convert::time::{duration, read_duration, read_timestamp, timestamp};
use countersign_refusal::Denied;
use jiff::Timestamp;
use tonic::Status;

use super::refusing::{invalid, spiffe_id};

/// Reads a registration that is asked for, whole; the server's own fields are ignored.
///
/// # Errors
/// A field does not read, or two of them contradict each other.
pub fn read(asked: wire::Registration, now: Timestamp) -> Result<RegistrationRequest, Status> {
    let key = key(&asked)?;
    let expires_at = end(&asked, now)?;
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
    let names_criticality = !asked.criticality.is_empty();
    let registration = Registration {
        key,
        owner: asked.owner,
        criticality: criticality.map_err(|e: &str| invalid("invalid_criticality", e))?,
        labels: asked.labels.into_iter().collect(),
        x509_ttl: ttl
            .transpose()
            .map_err(|e| invalid("invalid_x509_ttl", e.to_string()))?,
        dns: asked.dns,
        hint: hint
            .transpose()
            .map_err(|e| invalid("invalid_hint", e.to_string()))?,
        is_default: asked.is_default,
        expires_at,
        created_at: Timestamp::UNIX_EPOCH,
        created_seq: 0,
    };
    Ok(RegistrationRequest {
        registration,
        names_criticality,
        mode: Mode::Replace,
    })
}

/// The fields that say something.
pub(super) fn said(asked: &wire::Registration) -> BTreeSet<Field> {
    let is_said = |field: &Field| match field {
        Field::Owner => !asked.owner.is_empty(),
        Field::Criticality => !asked.criticality.is_empty(),
        Field::Labels => !asked.labels.is_empty(),
        Field::X509Ttl => asked.x509_ttl.is_some(),
        Field::Dns => !asked.dns.is_empty(),
        Field::Hint => !asked.hint.is_empty(),
        Field::Default => asked.is_default,
        Field::Expiry => asked.expires_at.is_some() || asked.expires_in.is_some(),
    };
    Field::ALL.into_iter().filter(is_said).collect()
}

/// A node and selectors, or by hand.
fn key(asked: &wire::Registration) -> Result<RegistrationKey, Status> {
    let id = spiffe_id("id", &asked.id)?;
    if !asked.by_hand {
        let node = spiffe_id("node", &asked.node)?;
        let refused = |e: &dyn Display| invalid("invalid_selectors", e.to_string());
        let selectors = selector_set(&asked.selectors).map_err(|e| refused(&e))?;
        let checked = selectors.iter().try_for_each(Selector::check_satisfiable);
        checked.map_err(|e| refused(&e))?;
        return Ok(RegistrationKey::on_node(id, node, selectors));
    }
    if asked.node.is_empty() && asked.selectors.is_empty() {
        return Ok(RegistrationKey::manual(id));
    }
    Err(invalid(
        "invalid_parent",
        "what is signed by hand has no node and no selectors",
    ))
}

fn end(asked: &wire::Registration, now: Timestamp) -> Result<Option<Timestamp>, Status> {
    let refused = |e: String| invalid("invalid_expiry", e);
    match (asked.expires_at, asked.expires_in) {
        (None, None) => Ok(None),
        (Some(at), None) => {
            let at = read_timestamp("expires_at", Some(at));
            at.map(Some).map_err(|e| refused(e.to_string()))
        }
        (None, Some(within)) => {
            let within = read_duration("expires_in", Some(within));
            let within = within.map_err(|e| refused(e.to_string()))?;
            let end = now.checked_add(within);
            end.map(Some).map_err(|e| refused(e.to_string()))
        }
        (Some(_), Some(_)) => Err(refused(
            "expires_at and expires_in exclude each other".to_owned(),
        )),
    }
}

/// Writes a registration.
pub fn written(it: &Registration) -> wire::Registration {
    let node = it.key.node().map(ToString::to_string);
    let selectors = it.key.selectors().into_iter().flat_map(SelectorSet::iter);
    wire::Registration {
        id: it.key.id.to_string(),
        by_hand: node.is_none(),
        node: node.unwrap_or_default(),
        selectors: selectors.map(ToString::to_string).collect(),
        owner: it.owner.clone(),
        criticality: it.criticality.as_str().to_owned(),
        labels: it.labels.clone().into_iter().collect(),
        x509_ttl: it.x509_ttl.map(duration),
        dns: it.dns.clone(),
        hint: it
            .hint
            .as_ref()
            .map_or_else(String::new, |hint| hint.as_str().to_owned()),
        is_default: it.is_default,
        entitlement: it.key.entitlement_id().to_string(),
        created_at: Some(timestamp(it.created_at)),
        expires_at: it.expires_at.map(timestamp),
        expires_in: None,
        refused_code: String::new(),
        refused_because: String::new(),
    }
}

/// Writes a registration, and why it is not issued for any more.
pub(super) fn judged(it: &Registration, refusal: Option<&Denied>) -> wire::Registration {
    let mut message = written(it);
    if let Some(denied) = refusal {
        message.refused_code = denied.code.to_owned();
        message.refused_because = denied.to_string();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_that_matches_nobody_is_refused() {
        let asked = |selector: &str| wire::Registration {
            id: "spiffe://example.org/web".to_owned(),
            node: "spiffe://example.org/node/1".to_owned(),
            selectors: vec![selector.to_owned()],
            ..wire::Registration::default()
        };
        key(&asked("unix:path:/usr/bin/app")).unwrap();
        for selector in ["unix:path:/ ", "unix:path:bin/app", "unix:path:/bin/../app"] {
            let refused = key(&asked(selector)).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{selector}");
            assert!(refused.message().contains("unix:path needs"), "{refused}");
        }
    }
}
