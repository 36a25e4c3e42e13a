//! Addresses of control planes, as an operator writes them and as a control plane tells them.

use countersign_model::address::{Authority, HttpsAddress};

use super::material::{text, texts};

/// What is taken reads the same from what it is written as, names a host, and never leads to another port than
/// the one that was written.
pub fn run(data: &[u8]) -> bool {
    let Some(written) = text(data) else {
        return false;
    };
    if let Ok(authority) = written.parse::<Authority>() {
        assert_eq!(authority.to_string().parse(), Ok(authority));
    }
    let Ok(address) = written.parse::<HttpsAddress>() else {
        return false;
    };
    assert_eq!(address.to_string().parse(), Ok(address.clone()));
    assert!(!address.host().to_string().is_empty());
    let authority = written.trim_end_matches('/');
    if let Some((_, port)) = authority.rsplit_once(':')
        && let Ok(port) = port.parse::<u64>()
    {
        assert_eq!(u64::from(address.port()), port, "{written}");
    }
    true
}

/// Each kind of host, with and without a port.
pub fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        "https://cp-a.example:8443",
        "https://cp-a.example/",
        "https://10.0.0.7:65535",
        "https://[fd00::7]:443",
        "https://[::ffff:10.0.0.7]",
    ])
}
