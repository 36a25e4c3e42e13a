//! The node's own certificate: it proves the node for as long as it lasts and the control plane
//! recognises it, and is renewed on the stream that it opens.

use jiff::Timestamp;

use crate::state::NodeCredential;

/// Why the node's certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unproven {
    /// There is none.
    Missing,
    /// It has expired.
    Expired(Timestamp),
    /// The control plane did not recognise it the last time.
    Unrecognised,
}

/// Whether the node is proved by its certificate.
///
/// # Errors
/// Why it has to be attested.
pub(crate) fn check(
    node: Option<&NodeCredential>,
    is_recognised: bool,
    now: Timestamp,
) -> Result<(), Unproven> {
    match node.map(|node| &node.svid.lifetime) {
        Some(lifetime) if lifetime.is_expired(now) => Err(Unproven::Expired(lifetime.not_after)),
        _ if !is_recognised => Err(Unproven::Unrecognised),
        Some(_) => Ok(()),
        None => Err(Unproven::Missing),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pki::{Authority, id, now, serial};

    #[test]
    fn expired_or_unrecognised_certificate_proves_nothing() {
        let authority = Authority::new("root");
        let of = |svid| NodeCredential { svid, key_epoch: 0 };
        let good = of(authority.svid(&id("/node"), serial(1)));
        assert_eq!(check(Some(&good), true, now()), Ok(()));
        assert_eq!(
            check(Some(&good), false, now()),
            Err(Unproven::Unrecognised)
        );
        assert_eq!(check(None, true, now()), Err(Unproven::Missing));
        let old = of(Arc::new(authority.expired(&id("/node"), serial(1))));
        let ended = Unproven::Expired(old.svid.lifetime.not_after);
        for is_recognised in [true, false] {
            assert_eq!(check(Some(&old), is_recognised, now()), Err(ended));
        }
    }
}
