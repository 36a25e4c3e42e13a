//! What the heads of calls hold while the calls are under way.
//!
//! HTTP/2 decodes the headers of a call before anybody can look at them, and a field that the peer
//! indexed is one byte on the wire and a place in a table here. So a head is charged as its call
//! begins, and a caller whose heads hold too much is refused. Strangers, nodes and local users have a
//! budget each: none of them can take what is for the others.

use std::sync::Arc;

use http::HeaderMap;

use super::budget::{ByteBudget, Charge, Exhausted, Payer, Shares};

/// Heads of peers without an SVID, each source and all together: some hundred attestations at once
/// from behind one address.
const OF_STRANGERS: Shares = Shares {
    total: 16 << 20,
    each: 1 << 20,
};
/// Heads of peers with an SVID.
const OF_IDENTITIES: Shares = Shares {
    total: 64 << 20,
    each: 1 << 20,
};
/// Heads of local users: those of an Envoy that holds a stream for each of 2 000 secrets, twice.
const OF_USERS: Shares = Shares {
    total: 64 << 20,
    each: 16 << 20,
};
/// What a field takes besides its text: two places of a table that grows by doubling.
const FIELD_BYTES: usize = 256;

/// The heads of all calls under way.
#[derive(Debug)]
pub(super) struct Heads {
    strangers: Arc<ByteBudget>,
    identities: Arc<ByteBudget>,
    users: Arc<ByteBudget>,
}

impl Heads {
    pub(super) fn new() -> Self {
        Self {
            strangers: ByteBudget::new(OF_STRANGERS),
            identities: ByteBudget::new(OF_IDENTITIES),
            users: ByteBudget::new(OF_USERS),
        }
    }

    /// Charges a head to whoever calls.
    ///
    /// # Errors
    /// The bound that it would break.
    pub(super) fn charge(&self, payer: &Payer, headers: &HeaderMap) -> Result<Charge, Exhausted> {
        let budget = match payer {
            Payer::Source(_) => &self.strangers,
            Payer::Identity(_) => &self.identities,
            Payer::Uid(_) => &self.users,
        };
        let mut charge = budget.account(payer.clone()).open();
        charge.resize(weight(headers))?;
        Ok(charge)
    }
}

/// The bytes that a head holds.
fn weight(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES)
        .sum()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::limits::{MAX_CONCURRENT_STREAMS, MAX_HEADER_BYTES};

    /// What RFC 9113 counts for a field besides its text.
    const COUNTED_BYTES: usize = 32;

    /// The head with the most fields that a server takes in.
    fn heaviest() -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut counted = 0;
        for number in 0_u32.. {
            let name = HeaderName::try_from(number.to_string()).unwrap();
            counted += name.as_str().len() + COUNTED_BYTES;
            if counted > MAX_HEADER_BYTES as usize {
                break;
            }
            headers.insert(name, http::HeaderValue::from_static(""));
        }
        headers
    }

    fn source(last: u8) -> Payer {
        Payer::source(Ipv4Addr::new(192, 0, 2, last).into())
    }

    #[test]
    fn heads_of_one_source_take_its_share_and_come_back() {
        let (heads, headers) = (Heads::new(), heaviest());
        let charge = |payer: &Payer| heads.charge(payer, &headers);
        let held: Vec<_> = (0..MAX_CONCURRENT_STREAMS)
            .map_while(|_| charge(&source(1)).ok())
            .collect();
        assert!(held.len() < 16, "{} heads of the most fields", held.len());
        assert!(charge(&source(2)).is_ok());
        drop(held);
        assert_eq!(heads.strangers.held(), 0);
    }

    #[test]
    fn heads_of_strangers_take_nothing_from_nodes_and_users() {
        let (heads, headers) = (Heads::new(), heaviest());
        let mut held = Vec::new();
        for last in 0..=u8::MAX {
            held.extend(std::iter::from_fn(|| {
                heads.charge(&source(last), &headers).ok()
            }));
        }
        assert!(heads.strangers.held() <= OF_STRANGERS.total);
        let node = Payer::Identity("spiffe://example.org/node/a".parse().unwrap());
        assert!(heads.charge(&node, &headers).is_ok());
        assert!(heads.charge(&Payer::Uid(7), &headers).is_ok());
    }

    #[test]
    fn streams_of_a_large_envoy_fit() {
        let heads = Heads::new();
        let mut headers = HeaderMap::new();
        for name in 0..12 {
            let name = HeaderName::try_from(format!("x-envoy-{name}")).unwrap();
            headers.insert(
                name,
                http::HeaderValue::from_static("a value of usual length"),
            );
        }
        let user = Payer::Uid(7);
        let held: Result<Vec<_>, _> = (0..4_000).map(|_| heads.charge(&user, &headers)).collect();
        assert!(held.is_ok(), "{held:?}");
    }
}
