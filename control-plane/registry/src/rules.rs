//! What may be registered, whatever the policy says. Every refusal says which rule, and what mends
//! it.

mod dns;
mod ending;
mod labels;

use std::ops::RangeInclusive;
use std::time::Duration;

use countersign_model::registration::MAX_OWNER_BYTES;
use countersign_model::{Registration, SpiffeId, TrustDomain};
use countersign_refusal::Denied;

pub use dns::is_dns_name;
pub use ending::remaining;

/// Lifetimes of X.509-SVIDs.
pub const TTL: RangeInclusive<Duration> = Duration::from_secs(20)..=Duration::from_secs(24 * 3_600);
/// An issuing CA lives at least so many times as long as the longest SVID under it.
pub const ISSUING_LIVES: u32 = 6;

/// Checks the registration by itself.
pub fn check(
    registration: &Registration,
    trust_domain: &TrustDomain,
    issuing_ttl: Duration,
) -> Result<(), Denied> {
    member(&registration.key.id, trust_domain)?;
    parent(registration, trust_domain)?;
    owner(&registration.owner)?;
    labels::check(&registration.labels)?;
    if let Some(ttl) = registration.x509_ttl {
        lifetime(ttl, issuing_ttl)?;
    }
    dns::check(&registration.dns)
}

/// A node has an ID that may be one; what is signed by hand has no caller to be told apart.
fn parent(registration: &Registration, trust_domain: &TrustDomain) -> Result<(), Denied> {
    let key = &registration.key;
    match key.node() {
        Some(node) if *node == key.id => Err(id_is_node(&key.id)),
        Some(node) => member(node, trust_domain),
        None if registration.hint.is_some() || registration.is_default => Err(denied(
            "by_hand_without_caller",
            "a hint and `default` are for callers, and what is signed by hand has none".to_owned(),
            "leave out --hint and --default",
        )),
        None => Ok(()),
    }
}

/// An ID that may be a workload's or a node's.
pub fn member(id: &SpiffeId, trust_domain: &TrustDomain) -> Result<(), Denied> {
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
pub fn lifetime(ttl: Duration, issuing_ttl: Duration) -> Result<(), Denied> {
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
pub fn id_is_node(id: &SpiffeId) -> Denied {
    denied(
        "id_is_node",
        format!("{id} is the ID of a node"),
        "give the workload an ID of its own",
    )
}

/// The refusal of a workload's ID as a node's.
pub fn node_is_workload(id: &SpiffeId) -> Denied {
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
        format!(
            "a registration names an owner, of at most {MAX_OWNER_BYTES} bytes without control characters"
        ),
        "say who answers for this identity with --owner",
    ))
}

fn denied(code: &'static str, message: String, remedy: &'static str) -> Denied {
    Denied {
        code,
        message,
        remedy,
    }
}
