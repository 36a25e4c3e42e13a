//! One-time join tokens: 256 random bits, kept only as a hash, burnt by compare-and-set.
//!
//! A token is made for a node, and burnt for a key. Whoever shows the same token with the same key again has lost the
//! answer: that is a repeat, and no replay. With another key it is one.

mod tokens;

use std::ops::RangeInclusive;
use std::time::Duration;

use countersign_model::entropy::{Entropy, NoEntropy};
use countersign_model::{Seq, SpiffeId};
use countersign_proto::mesh::JoinTokenEvidence;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use countersign_refusal::Denied;

use super::{Attestation, Attestor, Repetition, SessionFacts, Spent, ToldToHolder, Verdict};
use crate::Method;
pub use tokens::Tokens;

/// How long a token may wait to be used.
pub const TTL: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(24 * 3_600);
/// Most tokens that are remembered, used and expired ones included.
pub const MAX_TOKENS: usize = 100_000;
/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 64;
/// How long after its end a token is remembered, so that a replay is told from a guess.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

const USED: &str = "token_used";
const EXPIRED: &str = "token_expired";
const REVOKED: &str = "token_revoked";
const REMEDY: &str = "make a new token with `countersign token create`";

/// The SHA-256 of a token, lower-case hex: all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash(String);

impl TokenHash {
    /// The hash of what a caller sent; `None` for what no token of ours can be.
    pub fn of(token: &str) -> Option<Self> {
        let charset = token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let fits = charset && (1..=MAX_TOKEN_BYTES).contains(&token.len());
        fits.then(|| Self(hex::encode(Sha256::digest(token))))
    }

    /// A hash that was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A new token, lower-case hex.
///
/// # Errors
/// There is nothing to make it of.
pub fn generate(entropy: &dyn Entropy) -> Result<String, NoEntropy> {
    let mut random = Zeroizing::new([0; 32]);
    entropy.fill(&mut *random)?;
    Ok(hex::encode(*random))
}

/// Judges a join token by those that are remembered.
#[derive(Debug)]
pub struct JoinToken<'a> {
    text: &'a str,
    tokens: &'a Tokens,
}

impl<'a> JoinToken<'a> {
    pub(super) fn new(evidence: &'a JoinTokenEvidence, tokens: &'a Tokens) -> Self {
        let text = &evidence.token;
        Self { text, tokens }
    }

    fn known(&self) -> Result<(TokenHash, &KnownToken), Denied> {
        let hash = TokenHash::of(self.text).ok_or_else(unknown)?;
        let known = self.tokens.get(&hash).ok_or_else(unknown)?;
        Ok((hash, known))
    }
}

impl Attestor for JoinToken<'_> {
    /// Whoever shows what has the hash of a token is its holder. Of a token that was never made, or
    /// is forgotten, and of one that is good, nothing is told; nor which node it is for.
    fn told_to_holder(&self, now: Timestamp) -> Option<ToldToHolder> {
        let (_, known) = self.known().ok()?;
        known.token.told(now)
    }

    fn name(&self) -> &'static str {
        Method::JoinToken.as_str()
    }

    /// We made the token for it.
    fn proven_node(&self) -> Option<SpiffeId> {
        self.node().ok()
    }

    fn node(&self) -> Result<SpiffeId, Denied> {
        let (_, known) = self.known()?;
        Ok(known.token.node.clone())
    }

    fn screen(&self, facts: &SessionFacts) -> Result<(), Denied> {
        let (_, known) = self.known()?;
        known.token.check(&facts.spki_sha256, facts.now)
    }

    fn judge(&self, facts: &SessionFacts) -> Result<Verdict, Denied> {
        let (hash, KnownToken { token, seq }) = self.known()?;
        token.check(&facts.spki_sha256, facts.now)?;
        let node = token.node.clone();
        if token.used_at.is_some() {
            return Ok(Verdict::Repeats(Repetition {
                node,
                lineage: *seq,
                until: token.expires_at,
                used: token.used(),
            }));
        }
        let burnt = token.burnt(&facts.spki_sha256, facts.now);
        let spent = Spent {
            hash,
            used: burnt.used(),
            token: burnt,
            unchanged_since: *seq,
        };
        Ok(Verdict::Attests(Attestation {
            node,
            method: Method::JoinToken,
            spent: Some(spent),
        }))
    }
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// For which node.
    pub node: SpiffeId,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// When it was used, or revoked.
    pub used_at: Option<Timestamp>,
    /// For which key: SHA-256 of its SubjectPublicKeyInfo, lower-case hex. Absent in older records.
    #[serde(default)]
    pub used_by: Option<String>,
    /// It was not used, and its node was evicted.
    #[serde(default)]
    pub is_revoked: bool,
}

/// A token and the commit that wrote it last: for compare-and-set, and, once it is used, the
/// number of the lineage that it began.
#[derive(Clone, Debug)]
pub struct KnownToken {
    /// The token.
    pub token: Token,
    /// The commit.
    pub seq: Seq,
}

impl Token {
    /// Whether it may be burnt for this key now, or was. The reason of a refusal is for the log,
    /// never for the caller.
    fn check(&self, spki_sha256: &[u8; 32], now: Timestamp) -> Result<(), Denied> {
        if self.is_revoked {
            Err(self.revocation())
        } else if self.used_at.is_some() {
            self.was_used_by(spki_sha256)
                .then_some(())
                .ok_or_else(|| self.used())
        } else if self.is_over(now) {
            let (node, end) = (&self.node, self.expires_at);
            let message = format!("the join token of {node} has expired at {end}");
            Err(refused(EXPIRED, message))
        } else {
            Ok(())
        }
    }

    /// Why it is good for nothing, in words for who holds it.
    fn told(&self, now: Timestamp) -> Option<ToldToHolder> {
        let (code, message) = match self.used_at {
            Some(_) if self.is_revoked => (REVOKED, "this join token was taken back".to_owned()),
            Some(at) => (
                USED,
                format!("this join token was used, at {}", whole_secs(at)),
            ),
            None if self.is_over(now) => {
                let end = whole_secs(self.expires_at);
                (EXPIRED, format!("this join token has expired, at {end}"))
            }
            None => return None,
        };
        Some(ToldToHolder {
            code,
            message,
            remedy: REMEDY,
        })
    }

    /// The token as it is once it is burnt for a key.
    fn burnt(&self, spki_sha256: &[u8; 32], now: Timestamp) -> Self {
        Self {
            used_at: Some(now),
            used_by: Some(hex::encode(spki_sha256)),
            ..self.clone()
        }
    }

    /// Whether it could still be burnt.
    pub fn is_unused(&self, now: Timestamp) -> bool {
        self.used_at.is_none() && !self.is_over(now)
    }

    /// The token as it is once its node is evicted.
    pub fn revoked(&self, now: Timestamp) -> Self {
        Self {
            used_at: Some(now),
            is_revoked: true,
            ..self.clone()
        }
    }

    fn revocation(&self) -> Denied {
        let node = &self.node;
        let message = format!("{node} was evicted after this join token was made for it");
        refused(REVOKED, message)
    }

    /// Whether it was burnt for this key.
    fn was_used_by(&self, spki_sha256: &[u8; 32]) -> bool {
        let used_by = self.used_by.as_deref();
        used_by.is_some_and(|used_by| used_by == hex::encode(spki_sha256))
    }

    /// Whether its time to be used is over.
    fn is_over(&self, now: Timestamp) -> bool {
        now > self.expires_at
    }

    /// The refusal of a token that was burnt before, or in this moment by somebody else.
    fn used(&self) -> Denied {
        let node = &self.node;
        let when = self.used_at.map(|at| format!(" at {at}"));
        let when = when.unwrap_or_default();
        refused(
            USED,
            format!("the join token of {node} was used before{when}"),
        )
    }

    /// Until when it is remembered.
    pub fn remembered_until(&self) -> Timestamp {
        let until = self.expires_at.checked_add(REMEMBERED);
        until.unwrap_or(Timestamp::MAX)
    }
}

/// Times are told to the second.
fn whole_secs(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The refusal of a token that was never made, or long ago.
fn unknown() -> Denied {
    refused("token_unknown", "no such join token".to_owned())
}

fn refused(code: &'static str, message: String) -> Denied {
    Denied {
        code,
        message,
        remedy: REMEDY,
    }
}

#[cfg(test)]
pub(crate) mod tests;
