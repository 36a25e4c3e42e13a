//! One-time join tokens: 256 random bits, kept only as a hash, burnt by compare-and-set.

use std::ops::RangeInclusive;
use std::time::Duration;

use aws_lc_rs::rand;
use countersign_model::SpiffeId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::authority::Denied;
use crate::store::Seq;

/// How long a token may wait to be used.
pub(crate) const TTL: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(24 * 3_600);
/// Most tokens that are remembered, used and expired ones included.
pub(crate) const MAX_TOKENS: usize = 100_000;
/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 64;
/// How long after its end a token is remembered, so that a replay is told from a guess.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// The SHA-256 of a token, lower-case hex: all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash(String);

impl TokenHash {
    /// The hash of what a caller sent; `None` for what no token of ours can be.
    pub(crate) fn of(token: &str) -> Option<Self> {
        let charset = token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let fits = charset && (1..=MAX_TOKEN_BYTES).contains(&token.len());
        fits.then(|| Self(hex::encode(Sha256::digest(token))))
    }

    /// A hash that was stored.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A new token, lower-case hex.
pub(crate) fn generate() -> Option<String> {
    let mut random = Zeroizing::new([0; 32]);
    rand::fill(&mut *random).ok()?;
    Some(hex::encode(*random))
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) node: SpiffeId,
    pub(crate) expires_at: Timestamp,
    pub(crate) used_at: Option<Timestamp>,
}

/// A token and the commit that wrote it last, for compare-and-set.
#[derive(Clone, Debug)]
pub(crate) struct KnownToken {
    pub(crate) token: Token,
    pub(crate) seq: Seq,
}

impl Token {
    /// Whether it may be burnt now. The reason of a refusal is for the log, never for the caller.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Denied> {
        if self.used_at.is_some() {
            Err(used())
        } else if now > self.expires_at {
            Err(refused("token_expired", "the join token has expired"))
        } else {
            Ok(())
        }
    }

    /// Whether nothing is learnt from remembering it.
    pub(crate) fn is_forgotten(&self, now: Timestamp) -> bool {
        now.duration_since(self.expires_at) > REMEMBERED
    }
}

/// The refusal of a token that was burnt before, or in this moment by somebody else.
pub(crate) fn used() -> Denied {
    refused("token_used", "the join token was used before")
}

/// The refusal of a token that was never made, or long ago.
pub(crate) fn unknown() -> Denied {
    refused("token_unknown", "no such join token")
}

fn refused(code: &'static str, message: &str) -> Denied {
    Denied {
        code,
        message: message.to_owned(),
        remedy: "make a new token with `countersign token create`",
    }
}
