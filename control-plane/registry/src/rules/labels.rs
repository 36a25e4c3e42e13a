//! Labels: what operators find a registration by, bounded in number and size.

use std::collections::BTreeMap;

use countersign_model::registration::{MAX_LABEL_KEY_BYTES, MAX_LABEL_VALUE_BYTES, MAX_LABELS};
use countersign_refusal::Denied;

use super::denied;

pub(super) fn check(labels: &BTreeMap<String, String>) -> Result<(), Denied> {
    let fine = |(key, value): (&String, &String)| is_key(key) && is_value(value);
    if labels.len() <= MAX_LABELS && labels.iter().all(fine) {
        return Ok(());
    }
    Err(denied(
        "label_invalid",
        format!(
            "a registration has at most {MAX_LABELS} labels; a key is 1 to {MAX_LABEL_KEY_BYTES} \
             of a-z, 0-9, '.', '_', '/' and '-', a value at most {MAX_LABEL_VALUE_BYTES} bytes \
             without control characters"
        ),
        "use labels such as --label env=prod",
    ))
}

fn is_key(key: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-');
    (1..=MAX_LABEL_KEY_BYTES).contains(&key.len()) && key.bytes().all(allowed)
}

fn is_value(value: &str) -> bool {
    value.len() <= MAX_LABEL_VALUE_BYTES && !value.contains(char::is_control)
}
