//! Addresses of control planes, as an operator writes them and as control planes tell them.

use http::Uri;

use crate::mesh::ControlPlanes;

/// Most addresses of control planes: more replicas than a trust domain has any use for.
pub const MAX_ADDRESSES: usize = 16;
/// Longest address, in bytes: a host name has at most 253.
pub const MAX_ADDRESS_BYTES: usize = 512;
/// The port of an address that names none.
pub const DEFAULT_PORT: u16 = 443;
const HTTPS: &str = "https";

/// An address: `https://host:port`, without path, query or user.
///
/// # Errors
/// What is wrong with it, in words that follow its name.
pub fn parse_address(text: &str) -> Result<Uri, String> {
    if text.len() > MAX_ADDRESS_BYTES {
        return Err(format!("is longer than {MAX_ADDRESS_BYTES} bytes"));
    }
    let uri: Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
    if uri.scheme_str() != Some(HTTPS) {
        return Err("does not begin with https://".to_owned());
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("has a path or query".to_owned());
    }
    if uri.authority().is_none_or(|a| a.as_str().contains('@')) {
        return Err("has user information".to_owned());
    }
    Ok(uri)
}

/// By which two addresses are the same.
pub fn endpoint(address: &Uri) -> (String, u16) {
    let host = address.host().unwrap_or_default().to_ascii_lowercase();
    (host, address.port_u16().unwrap_or(DEFAULT_PORT))
}

/// The addresses that a control plane tells: each once, as many as are taken. What is none is left out.
pub fn told(message: &ControlPlanes) -> Vec<Uri> {
    let mut told: Vec<Uri> = Vec::new();
    let texts = message.addresses.iter().take(MAX_ADDRESSES);
    for address in texts.filter_map(|text| parse_address(text).ok()) {
        if told.iter().all(|it| endpoint(it) != endpoint(&address)) {
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
        let long = format!("https://{}:1", "a".repeat(MAX_ADDRESS_BYTES));
        let bad = [
            "http://a:1",
            "https://a/path",
            "https://u@a",
            "a:1",
            "",
            "https://a\u{1b}[2J",
            &long,
        ];
        assert_eq!(shown(&bad), [""; 0]);
        assert_eq!(
            shown(&["https://a:1", "https://A:1", "https://b"]),
            ["https://a:1/", "https://b/"]
        );
        let many: Vec<_> = (1..100).map(|port| format!("https://a:{port}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(shown(&many).len(), MAX_ADDRESSES);
    }
}
