//! The end of a registration: no certificate outlives it.

use std::time::Duration;

use countersign_model::Registration;
use countersign_refusal::Denied;
use jiff::{SignedDuration, Timestamp};

use super::{TTL, denied};

/// The lifetime that a certificate of `ttl` may still have: up to the end, in whole seconds, and
/// none where the shortest would not fit.
pub fn remaining(
    registration: &Registration,
    ttl: Duration,
    now: Timestamp,
) -> Result<Duration, Denied> {
    let Some(end) = registration.expires_at else {
        return Ok(ttl);
    };
    let left = end.duration_since(now).max(SignedDuration::ZERO);
    let left = Duration::from_secs(left.unsigned_abs().as_secs());
    if left < *TTL.start() {
        return Err(denied(
            "registration_expired",
            format!(
                "the registration of {} ends at {end}, and nothing is issued in its last {} s",
                registration.key,
                TTL.start().as_secs()
            ),
            "register it with a later --expires-in or --expires-at",
        ));
    }
    Ok(ttl.min(left))
}
