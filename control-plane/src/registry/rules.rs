//! What may be registered. Every refusal says which rule, and what mends it.

use std::ops::RangeInclusive;
use std::time::Duration;

use countersign_model::registration::{MAX_DNS_NAMES, MAX_OWNER_BYTES};
use countersign_model::{Registration, SpiffeId, TrustDomain};

use crate::authority::Denied;

/// Lifetimes of X.509-SVIDs.
pub(crate) const TTL: RangeInclusive<Duration> =
    Duration::from_secs(20)..=Duration::from_secs(24 * 3_600);
/// An issuing CA lives at least so many times as long as the longest SVID under it.
pub(crate) const ISSUING_LIVES: u32 = 6;
/// Longest DNS name in bytes (RFC 1035 section 2.3.4).
const MAX_DNS_BYTES: usize = 253;
/// Longest label of a DNS name in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// Checks the registration by itself.
pub(crate) fn check(
    registration: &Registration,
    trust_domain: &TrustDomain,
    issuing_ttl: Duration,
) -> Result<(), Denied> {
    member(&registration.key.id, trust_domain)?;
    member(&registration.key.node, trust_domain)?;
    if registration.key.id == registration.key.node {
        return Err(id_is_node(&registration.key.id));
    }
    owner(&registration.owner)?;
    if let Some(ttl) = registration.x509_ttl {
        lifetime(ttl, issuing_ttl)?;
    }
    dns(&registration.dns)
}

/// An ID that may be a workload's or a node's.
pub(crate) fn member(id: &SpiffeId, trust_domain: &TrustDomain) -> Result<(), Denied> {
    if !id.is_member_of(trust_domain) {
        return Err(denied(
            "foreign_trust_domain",
            format!("{id} is not in the trust domain {trust_domain}"),
            "use an ID of this control plane's trust domain",
        ));
    }
    if id.path().is_empty() {
        return Err(denied(
            "id_without_path",
            format!("{id} names the trust domain itself"),
            "give the ID a path",
        ));
    }
    if id.is_reserved() {
        return Err(denied(
            "id_reserved",
            format!("{id} is reserved for the control plane"),
            "choose a path outside /countersign/",
        ));
    }
    Ok(())
}

/// A lifetime that leaves an issuing CA room to rotate.
pub(crate) fn lifetime(ttl: Duration, issuing_ttl: Duration) -> Result<(), Denied> {
    if !TTL.contains(&ttl) || ttl.subsec_nanos() != 0 {
        return Err(denied(
            "ttl_out_of_bounds",
            "a lifetime is 20 s to 24 h, in whole seconds".to_owned(),
            "choose a lifetime within the bounds; renew earlier by renew_at, not by a shorter one",
        ));
    }
    if ttl.saturating_mul(ISSUING_LIVES) > issuing_ttl {
        return Err(denied(
            "ttl_beyond_issuer",
            "an issuing CA must live at least 6 times as long as the longest SVID".to_owned(),
            "choose a shorter lifetime, or a longer ca.issuing_ttl",
        ));
    }
    Ok(())
}

/// The refusal of a node's ID as a workload's.
pub(crate) fn id_is_node(id: &SpiffeId) -> Denied {
    denied(
        "id_is_node",
        format!("{id} is the ID of a node"),
        "give the workload an ID of its own",
    )
}

/// The refusal of a workload's ID as a node's.
pub(crate) fn node_is_workload(id: &SpiffeId) -> Denied {
    denied(
        "node_is_workload",
        format!("{id} is registered as a workload"),
        "give the node an ID of its own",
    )
}

fn owner(owner: &str) -> Result<(), Denied> {
    let fits = (1..=MAX_OWNER_BYTES).contains(&owner.len()) && !owner.contains(char::is_control);
    if fits {
        return Ok(());
    }
    Err(denied(
        "owner_invalid",
        format!("an owner is 1 to {MAX_OWNER_BYTES} bytes without control characters"),
        "say who answers for this identity with --owner",
    ))
}

fn dns(names: &[String]) -> Result<(), Denied> {
    let mut seen = std::collections::BTreeSet::new();
    let all_fine = names
        .iter()
        .all(|name| is_dns_name(name) && seen.insert(name));
    if all_fine && names.len() <= MAX_DNS_NAMES {
        return Ok(());
    }
    Err(denied(
        "dns_invalid",
        format!("DNS names are lower-case host names without wildcard, at most {MAX_DNS_NAMES}"),
        "use names such as web.example.org, each once",
    ))
}

/// Lower-case labels of letters, digits and inner hyphens; not an address.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= MAX_DNS_BYTES
        && name.split('.').all(label)
        && !last.bytes().all(|b| b.is_ascii_digit())
}

fn denied(code: &'static str, message: String, remedy: &'static str) -> Denied {
    Denied {
        code,
        message,
        remedy,
    }
}
