//! Join tokens and the attestation of nodes.

use std::time::Duration;

use countersign_model::{EntitlementId, SpiffeId};
use jiff::Timestamp;
use tracing::{info, warn};

use super::{AttestedNode, Authority, AuthorityError, Denied};
use crate::attest::Attestor;
use crate::attest::join_token::{self, KnownToken, Token, TokenHash};
use crate::attest::nodes::StoredNode;
use crate::registry::rules;
use crate::store::{Change as Write, Kind, Precondition, StoreError};

impl Authority {
    /// Makes a one-time join token.
    ///
    /// # Errors
    /// A foreign or reserved node ID, a TTL out of bounds.
    pub async fn create_token(
        &self,
        node: &SpiffeId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<(String, Timestamp), AuthorityError> {
        let node = node.clone();
        self.to_the_end(async move |this| this.create_token_now(&node, ttl, now).await)
            .await
    }

    /// For which node a join token may be burnt, as things stand: cheap, and nothing is burnt.
    ///
    /// # Errors
    /// Unknown, used or expired token.
    pub fn check_join_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<SpiffeId, AuthorityError> {
        let (_, KnownToken { token, .. }) = self.known_token(token)?;
        token.check(now)?;
        Ok(token.node)
    }

    /// Burns a join token and says which node it was for. `is_connected` is asked before the
    /// token is burnt: a node whose holder is connected is not attested a second time. The token
    /// stays good then: a sidecar that lost its state may still be counted as connected for as
    /// long as its old stream takes to die, and must be able to try again.
    ///
    /// # Errors
    /// Unknown, used or expired token; a connected holder (an alarm).
    pub async fn attest_join_token(
        &self,
        token: &str,
        is_connected: &(dyn Fn(&SpiffeId) -> bool + Sync),
        now: Timestamp,
    ) -> Result<AttestedNode, AuthorityError> {
        let (hash, known) = self.known_token(token)?;
        known.token.check(now)?;
        let node = &known.token.node;
        if is_connected(node) {
            warn!(node = %node, "alarm: attestation for a node whose holder is connected");
            return Err(AuthorityError::Denied(Denied {
                code: "node_connected",
                message: format!("{node} is connected: it is not attested a second time"),
                remedy: "stop the sidecar that holds this node's identity, or find out who it is",
            }));
        }
        self.to_the_end(async move |this| this.burn(hash, known, now).await)
            .await
    }

    fn known_token(&self, token: &str) -> Result<(TokenHash, KnownToken), Denied> {
        let hash = TokenHash::of(token).ok_or_else(join_token::unknown)?;
        let known = self.read().tokens.get(&hash).cloned();
        Ok((hash, known.ok_or_else(join_token::unknown)?))
    }

    async fn create_token_now(
        &self,
        node: &SpiffeId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<(String, Timestamp), AuthorityError> {
        let _one_at_a_time = self.writing.lock().await;
        self.may_be_node(node, ttl)?;
        let token = join_token::generate().ok_or_else(|| {
            AuthorityError::Unavailable("the operating system gives no random bytes".to_owned())
        })?;
        let hash = TokenHash::of(&token).expect("our tokens have our shape");
        let expires_at = now.checked_add(ttl).unwrap_or(now);
        let stored = Token {
            node: node.clone(),
            expires_at,
            used_at: None,
        };
        let write = Write::put(Kind::Token, hash.as_str(), &stored);
        let absent = Precondition::Absent(Kind::Token, hash.as_str().to_owned());
        let seq = self.store.commit(vec![write], vec![absent]).await?;
        let known = KnownToken { token: stored, seq };
        self.write().remember_token(hash, known);
        self.announce(seq, []);
        info!(node = %node, expires_at = %expires_at, "join token made");
        Ok((token, expires_at))
    }

    fn may_be_node(&self, node: &SpiffeId, ttl: Duration) -> Result<(), Denied> {
        rules::member(node, self.trust_domain())?;
        let state = self.read();
        if state.registry.is_workload(node) {
            return Err(rules::node_is_workload(node));
        }
        if !join_token::TTL.contains(&ttl) {
            return Err(Denied {
                code: "token_ttl_out_of_bounds",
                message: "a join token waits 10 s to 24 h".to_owned(),
                remedy: "choose a --ttl within the bounds",
            });
        }
        if state.tokens.len() >= join_token::MAX_TOKENS {
            return Err(Denied {
                code: "too_many_tokens",
                message: format!("{} join tokens are remembered", join_token::MAX_TOKENS),
                remedy: "wait until old tokens are forgotten, a day after they end",
            });
        }
        Ok(())
    }

    /// The token is used and the node attested in one commit, which only one caller can win.
    async fn burn(
        &self,
        hash: TokenHash,
        known: KnownToken,
        now: Timestamp,
    ) -> Result<AttestedNode, AuthorityError> {
        let node = known.token.node.clone();
        // No enrolment of the old holder is under way: what it gets has a lower index, or is
        // refused because this attestation came between.
        let own = EntitlementId::node();
        let _none_enrols = self.enrolling.lock(Some(&node), &own).await;
        let used = Token {
            used_at: Some(now),
            ..known.token
        };
        let stored = StoredNode {
            attested_at: now,
            attestor: Attestor::JoinToken,
            lineage_from: self.log.size(),
        };
        let writes = vec![
            Write::put(Kind::Token, hash.as_str(), &used),
            Write::put(Kind::Node, node.as_str(), &stored),
        ];
        let unused = Precondition::Unchanged(Kind::Token, hash.as_str().to_owned(), known.seq);
        let seq = match self.store.commit(writes, vec![unused]).await {
            Err(StoreError::Conflict) => return Err(join_token::used().into()),
            other => other?,
        };
        let attested = {
            let mut state = self.write();
            state.remember_token(hash, KnownToken { token: used, seq });
            state.nodes.attested(&node, stored)
        };
        self.announce(seq, [super::Change::Entitlement(node, own)]);
        Ok(attested)
    }
}
