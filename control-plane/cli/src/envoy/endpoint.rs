//! Where Envoy connects to: an address, or a name that it resolves.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Longest name of a host (RFC 1035 section 2.3.4), and longest part of one.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Address(SocketAddr),
    Name(String, u16),
}

/// A text that is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("it is no HOST:PORT, such as 127.0.0.1:8080, [::1]:8080 or web.example:8443")]
    Shape,
    #[error("port 0 is no port to connect to")]
    PortZero,
}

impl Endpoint {
    /// Whether it is surely on this machine; what a name stands for is not known here.
    pub(super) fn is_loopback(&self) -> bool {
        matches!(self, Self::Address(address) if address.ip().is_loopback())
    }

    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        *self == Self::Address(address)
    }

    /// Host, as Envoy writes it, and port.
    pub(super) fn parts(&self) -> (String, u16) {
        match self {
            Self::Address(address) => (address.ip().to_string(), address.port()),
            Self::Name(name, port) => (name.clone(), *port),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let endpoint = if let Ok(address) = text.parse() {
            Self::Address(address)
        } else {
            let (name, port) = text.rsplit_once(':').ok_or(EndpointError::Shape)?;
            let port = port.parse().map_err(|_| EndpointError::Shape)?;
            if !is_host(name) {
                return Err(EndpointError::Shape);
            }
            Self::Name(name.to_owned(), port)
        };
        if endpoint.parts().1 == 0 {
            return Err(EndpointError::PortZero);
        }
        Ok(endpoint)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// Whether a text is a name of the DNS, and no address that was written badly.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        let may = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= MAX_LABEL && label.chars().all(may)
    };
    let last = name.rsplit('.').next().unwrap_or("");
    let is_number = last.chars().all(|c| c.is_ascii_digit());
    name.len() <= MAX_NAME && !is_number && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_name_are_told_apart() {
        let read = |text: &str| text.parse::<Endpoint>();
        let name = Endpoint::Name("web.example".to_owned(), 8_443);
        assert_eq!(read("web.example:8443"), Ok(name));
        assert!(read("127.0.0.1:80").unwrap().is_loopback());
        assert!(read("[::1]:80").unwrap().is_loopback());
        assert!(!read("localhost:80").unwrap().is_loopback());
        assert_eq!(read("[::1]:80").unwrap().parts(), ("::1".to_owned(), 80));
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "web",
            "web:",
            "web:x",
            ":80",
            "300.0.0.1:80",
            "a b:80",
            "http://web:80",
            "web..x:1",
        ] {
            assert_eq!(
                text.parse::<Endpoint>(),
                Err(EndpointError::Shape),
                "{text}"
            );
        }
        assert_eq!("web:0".parse::<Endpoint>(), Err(EndpointError::PortZero));
    }
}
