//! Serials and names of entitlements, as people and proofs write them.

use countersign_model::{EntitlementId, Serial};

use super::material::{text, texts};

/// What is taken is written again alike, but for the case of hex digits.
pub fn run(data: &[u8]) -> bool {
    if let Ok(serial) = Serial::from_bytes(data) {
        assert_eq!(serial.as_bytes(), data);
        let parts = Serial::new(serial.log_id(), serial.index(), [0; 8]);
        assert!(parts.is_ok_and(|parts| parts.as_bytes()[..8] == data[..8]));
        return true;
    }
    let Some(text) = text(data) else {
        return false;
    };
    let entitlement = EntitlementId::parse(text);
    if let Some(entitlement) = &entitlement {
        assert_eq!(entitlement.as_str(), text);
    }
    let Ok(serial) = text.parse::<Serial>() else {
        return entitlement.is_some();
    };
    assert_eq!(serial.to_string(), text.to_ascii_lowercase());
    true
}

/// As bytes, as hex, and both kinds of entitlements.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        "0a1b2c000000012c0909090909090909",
        "7FFFFFffffffffff0000000000000000",
        "node",
        "reg-00112233445566778899aabbccddeeff",
    ]);
    seeds.push(vec![
        1, 0, 0, 0, 0, 0, 0, 0, 255, 254, 253, 252, 251, 250, 249, 248,
    ]);
    seeds
}
