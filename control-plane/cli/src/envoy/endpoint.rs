//! Where Envoy connects to: an address, or a name that it resolves.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use countersign_model::address::{AddressError, Authority, Host};

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Address(SocketAddr),
    Name(String, u16),
}

/// A text that is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it {0}: write HOST:PORT, such as 127.0.0.1:8080, [::1]:8080 or web.example:8443")]
pub(crate) struct EndpointError(AddressError);

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
        let Authority { host, port } = text.parse().map_err(EndpointError)?;
        let port = port.ok_or(EndpointError(AddressError::NoPort))?;
        Ok(match host {
            Host::Ip(ip) => Self::Address(SocketAddr::new(ip, port)),
            Host::Name(name) => Self::Name(name, port),
        })
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
        for (text, error) in [
            ("", AddressError::NoHost),
            ("web", AddressError::NoPort),
            ("web:", AddressError::Port),
            ("web:x", AddressError::Port),
            ("web:0", AddressError::Port),
            ("web:65536", AddressError::Port),
            (":80", AddressError::NoHost),
            ("300.0.0.1:80", AddressError::Host),
            ("a b:80", AddressError::Host),
            ("http://web:80", AddressError::Port),
            ("web..x:1", AddressError::Host),
        ] {
            let read = text.parse::<Endpoint>();
            assert_eq!(read, Err(EndpointError(error)), "{text}");
        }
    }
}
