//! What time alone brings: rotations that are due, and what need not be remembered.

use jiff::Timestamp;
use tracing::info;

use super::{Authority, AuthorityError, Change};
use crate::attest::join_token::TokenHash;
use crate::ca::slots::Tier;
use crate::registry::Tombstone;
use crate::store::{Change as Write, Kind};

/// A root's successor is prepared when this share of its life is left, as one over it.
const ROOT_RESERVE: i32 = 6;
/// Most things that one tick forgets of a kind; the next tick goes on.
const FORGOTTEN_PER_TICK: usize = 10_000;

impl Authority {
    /// What time alone brings: an issuing CA that is due, a successor for a root near its end, a
    /// retired root that nothing lives under, and what need not be remembered.
    ///
    /// # Errors
    /// The store or a key is unavailable.
    pub async fn tick(&self, now: Timestamp) -> Result<(), AuthorityError> {
        if self.is_root_near_its_end(now) {
            self.prepare_root(now).await?;
        }
        if self.is_issuing_due(now) {
            self.rotate_issuing(now).await?;
        }
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.writing.lock().await;
            this.drop_dead(now).await?;
            this.forget(now).await
        })
        .await
    }

    fn is_issuing_due(&self, now: Timestamp) -> bool {
        let cas = self.cas();
        let (Some(issuing), Some(root)) = (
            cas.authorities.active(Tier::Issuing),
            cas.authorities.active(Tier::Root),
        ) else {
            return false;
        };
        // One that ends with its root cannot be replaced by a longer one.
        let life = issuing.not_after.duration_since(issuing.issued_at);
        let is_clamped = issuing.not_after >= root.not_after;
        !is_clamped && now.duration_since(issuing.issued_at) >= life / 2
    }

    fn is_root_near_its_end(&self, now: Timestamp) -> bool {
        let cas = self.cas();
        let prepared = cas.authorities.slots().prepared_root().is_some();
        let root = cas.authorities.active(Tier::Root);
        !prepared
            && root.is_some_and(|root| {
                let life = root.not_after.duration_since(root.issued_at);
                root.not_after.duration_since(now) <= life / ROOT_RESERVE
            })
    }

    async fn drop_dead(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let mut next = self.cas().clone();
        let dropped = next.authorities.drop_dead(now);
        if dropped.is_empty() {
            return Ok(());
        }
        let roots = self.cas().authorities.of_tier(Tier::Root).len();
        let is_bundle = next.authorities.of_tier(Tier::Root).len() != roots;
        let change = if is_bundle {
            Change::Bundle
        } else {
            Change::Authorities
        };
        info!(count = dropped.len(), "retired CAs dropped");
        self.replace(next, [change]).await
    }

    /// Forgets what nobody can ask for any more.
    async fn forget(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let (tokens, tombstones) = self.forgettable(now);
        let of_tokens = tokens
            .iter()
            .map(|hash| Write::remove(Kind::Token, hash.as_str()));
        let of_tombstones = tombstones
            .iter()
            .map(|grave| Write::remove(Kind::Tombstone, grave.key()));
        let writes: Vec<_> = of_tokens.chain(of_tombstones).collect();
        if !writes.is_empty() {
            let seq = self.store.commit(writes, Vec::new()).await?;
            self.announce(seq, []);
        }
        let mut state = self.write();
        tokens.iter().for_each(|hash| state.forget_token(hash));
        state.registry.forget(&tombstones);
        state.published.forget_expired(now);
        state.keys.forget_expired(now);
        Ok(())
    }

    fn forgettable(&self, now: Timestamp) -> (Vec<TokenHash>, Vec<Tombstone>) {
        let state = self.read();
        let old = state.tokens.iter();
        let tokens = old
            .filter(|(_, known)| known.token.is_forgotten(now))
            .map(|(hash, _)| hash.clone())
            .take(FORGOTTEN_PER_TICK)
            .collect();
        let mut tombstones = state.registry.expired_tombstones(now);
        tombstones.truncate(FORGOTTEN_PER_TICK);
        (tokens, tombstones)
    }
}
