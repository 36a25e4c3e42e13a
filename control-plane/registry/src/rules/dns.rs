//! DNS names: few, each once, literal and lower-case.

use std::collections::BTreeSet;

use countersign_model::registration::MAX_DNS_NAMES;
use countersign_refusal::Denied;

use super::denied;

/// Longest DNS name in bytes (RFC 1035 section 2.3.4).
const MAX_DNS_BYTES: usize = 253;
/// Longest label of a DNS name in bytes.
const MAX_LABEL_BYTES: usize = 63;

pub(super) fn check(names: &[String]) -> Result<(), Denied> {
    let mut seen = BTreeSet::new();
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
pub fn is_dns_name(name: &str) -> bool {
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
