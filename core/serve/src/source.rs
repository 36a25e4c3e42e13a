//! Where a stranger comes from, so that one source cannot take the places of all.

use std::net::{IpAddr, Ipv4Addr};

/// Bits of an IPv6 address that name one site: so much a home or a small office gets (RFC 6177, RIPE-690).
/// Anybody gets a /48 for nothing. Counted by /64 that is 65,536 sources, each with less than an honest
/// one; so it is 256.
const SITE_BITS: u32 = 56;

/// An address to count by: an IPv4 address, an IPv6 /56, or this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source of a peer address. Who has one IPv6 address has the /56 around it, and every
    /// process of this machine has all of its loopback addresses: counted one by one, a flood from
    /// each of 127.0.0.0/8 would leave whoever uses 127.0.0.1 as the source with the most.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            local if local.is_loopback() => Self(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            IpAddr::V6(v6) => {
                let network = v6.to_bits() & u128::MAX << (u128::BITS - SITE_BITS);
                Self(IpAddr::V6(network.into()))
            }
            v4 => Self(v4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_site_is_one_source() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:1"));
        assert_eq!(source("2001:db8::1"), source("2001:db8:0:ff::1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:100::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[test]
    fn this_machine_is_one_source() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        for loopback in ["127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.3"] {
            assert_eq!(source(loopback), source("127.0.0.1"), "{loopback}");
        }
        for other in ["126.255.255.255", "128.0.0.1", "::2", "::"] {
            assert_ne!(source(other), source("127.0.0.1"), "{other}");
        }
    }
}
