//! Addresses of control planes, as control planes tell them.

use countersign_model::address::HttpsAddress;

use crate::mesh::ControlPlanes;

/// Most addresses of control planes: more replicas than a trust domain has any use for.
pub const MAX_ADDRESSES: usize = 16;

/// The addresses that a control plane tells: each once, as many as are taken. What is none is left out.
pub fn told(message: &ControlPlanes) -> Vec<HttpsAddress> {
    let mut told: Vec<HttpsAddress> = Vec::new();
    let texts = message.addresses.iter().take(MAX_ADDRESSES);
    for address in texts.filter_map(|text| text.parse().ok()) {
        if !told.contains(&address) {
            told.push(address);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_addresses_are_bounded_and_each_is_one() {
        let shown = |texts: &[&str]| {
            let addresses = texts.iter().map(|&text| text.to_owned()).collect();
            let told = told(&ControlPlanes { addresses });
            told.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let long = format!("https://{}:1", "a".repeat(1_000_000));
        let bad = [
            "http://a:1",
            "https://a/path",
            "https://u@a",
            "a:1",
            "",
            "https://a\u{1b}[2J",
            "https://a:65536",
            "https://:1",
            &long,
        ];
        assert_eq!(shown(&bad), [""; 0]);
        assert_eq!(
            shown(&["https://a:1", "https://A:1", "https://b"]),
            ["https://a:1", "https://b:443"]
        );
        let many: Vec<_> = (1..100).map(|port| format!("https://a:{port}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(shown(&many).len(), MAX_ADDRESSES);
    }
}
