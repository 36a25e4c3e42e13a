//! Making join tokens.

use std::time::Duration;

use countersign_attest::join_token::{self, Token, TokenHash};
use countersign_model::SpiffeId;
use countersign_refusal::Denied;
use countersign_registry::rules;
use jiff::Timestamp;
use tracing::info;

use super::state::Change;
use super::{Authority, AuthorityError};

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
        self.act(move |this| {
            let node = node.clone();
            async move { this.create_token_now(&node, ttl, now).await }
        })
        .await
    }

    async fn create_token_now(
        &self,
        node: &SpiffeId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<(String, Timestamp), AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        self.may_be_node(node, ttl)?;
        let token = join_token::generate(&*self.settings.entropy)?;
        let hash = TokenHash::of(&token).expect("our tokens have our shape");
        let expires_at = now.checked_add(ttl).unwrap_or(now);
        let stored = Token {
            node: node.clone(),
            expires_at,
            used_at: None,
            used_by: None,
            is_revoked: false,
        };
        let made = Change::Token(hash, Some(stored));
        self.act_unlogged(vec![made]).await?;
        info!(node = %node, expires_at = %expires_at, "join token made");
        Ok((token, expires_at))
    }

    fn may_be_node(&self, node: &SpiffeId, ttl: Duration) -> Result<(), Denied> {
        rules::member(node, self.trust_domain())?;
        let state = self.state.read();
        if state.registry.is_workload(node) {
            return Err(rules::node_is_workload(node));
        }
        state.bans.check(node)?;
        if !join_token::TTL.contains(&ttl) {
            return Err(Denied {
                code: "token_ttl_out_of_bounds",
                message: "a join token waits 10 s to 24 h".to_owned(),
                remedy: "choose a --ttl within the bounds",
            });
        }
        if state.tokens.count() >= join_token::MAX_TOKENS {
            return Err(Denied {
                code: "too_many_tokens",
                message: format!("{} join tokens are remembered", join_token::MAX_TOKENS),
                remedy: "wait until old tokens are forgotten, a day after they end",
            });
        }
        Ok(())
    }
}
