//! What time alone brings: what is due in the hierarchy, and what need not be remembered.

use countersign_fleet::Event;
use countersign_issue::profile::Tier;
use countersign_model::{Seq, SpiffeId};
use countersign_store::{Kind, Precondition, StoreError};
use jiff::Timestamp;
use tracing::{info, warn};

use super::state::Change;
use super::{Authority, AuthorityError};

/// Most things that one tick forgets of a kind; the next tick goes on.
const FORGOTTEN_PER_TICK: usize = 10_000;

impl Authority {
    /// What time alone brings: an issuing CA that is due, a successor for a root near its end, a
    /// retired root that nothing lives under, and what need not be remembered.
    ///
    /// # Errors
    /// The store or a key is unavailable.
    pub async fn tick(&self, now: Timestamp) -> Result<(), AuthorityError> {
        self.tell_now(now);
        if self.store.is_stopped() {
            self.remember_older();
            return Err(StoreError::Stopped.into());
        }
        self.try_writes_again().await;
        self.tell_of_clock(now);
        self.remind(now);
        self.say_heartbeat(now).await;
        let doubts = self.keep_doubts().await;
        // What fails stops nothing else.
        let hierarchy = or_next_tick(self.keep_hierarchy(now).await);
        let rest = self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            this.destroy_pending();
            let voided = this
                .ledger
                .void_pending(now)
                .await
                .map_err(AuthorityError::from);
            this.forget_in_memory(now);
            let joined = this.note_joined(now).await;
            let acknowledged = this.forget_acknowledged().await;
            let told = voided.and(joined).and(acknowledged);
            if !this.ends_by_time(now) {
                return told;
            }
            let dropped = or_next_tick(this.drop_dead(now).await);
            let removed = or_next_tick(this.remove_ended(now).await);
            let forgotten = this.forget(now).await;
            let nodes = this.forget_nodes(now).await;
            told.and(dropped).and(removed).and(forgotten).and(nodes)
        });
        let rest = rest.await;
        let refusals = self.ledger.log_refusals(now, false).await;
        doubts.and(hierarchy).and(rest).and(refusals)
    }

    /// The tick of a start. A log with too many entries that wait for a checkpoint takes nothing,
    /// so it is given one first. What is due waits for the next tick while the disk takes nothing:
    /// what is known is served meanwhile.
    pub(super) async fn first_tick(&self, now: Timestamp) -> Result<(), AuthorityError> {
        if let Err(error) = self.publish_log(now).await {
            warn!(%error, "no checkpoint of the issuance log at start; tried again by itself");
        }
        let ticked = self.tick(now).await;
        let refused = self.refused_writes(now);
        match ticked {
            Err(error) if !refused.is_empty() => {
                let reason = refused.join("; ");
                warn!(%reason, %error, "what is due waits for the disk");
                Ok(())
            }
            ticked => ticked,
        }
    }

    /// Says once of each intermediate that its operator should bring a successor.
    fn remind(&self, now: Timestamp) {
        let Some((key_id, not_after)) = self.hierarchy.read().ends_soon(now) else {
            return;
        };
        if self.hierarchy.reminds_of(&key_id) {
            warn!(key_id, %not_after, "intermediate ends soon; import its successor");
        }
    }

    async fn drop_dead(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let mut next = self.hierarchy.read().clone();
        let dropped = next.drop_dead(now);
        if dropped.is_empty() {
            return Ok(());
        }
        let roots = self.hierarchy.read().authorities.of_tier(Tier::Root).len();
        let is_bundle = next.authorities.of_tier(Tier::Root).len() != roots;
        let change = if is_bundle {
            Event::Bundle
        } else {
            Event::Authorities
        };
        info!(count = dropped.len(), "retired CAs dropped");
        self.replace(Ok(()), next, [change], now).await
    }

    /// Forgets what nobody can ask for any more.
    async fn forget(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let forgettable = self.forgettable(now);
        if !forgettable.is_empty() {
            match self.act_unlogged(forgettable).await {
                // The next tick looks again.
                Err(StoreError::Conflict) => {}
                forgotten => drop(forgotten?),
            }
        }
        Ok(())
    }

    /// Forgets certificates that have ended: no other control plane hears of it.
    fn forget_in_memory(&self, now: Timestamp) {
        let mut state = self.state.write();
        state.published.forget_expired(now);
        state.keys.forget_expired(now);
        state.manual.forget_expired(now);
        drop(state);
        self.ledger.forget_expired(now);
    }

    /// Forgets nodes that have had nothing for long. One that attests meanwhile stays.
    async fn forget_nodes(&self, now: Timestamp) -> Result<(), AuthorityError> {
        // Under the lock of those who write only the clock is looked at, not every node.
        if !self.state.write().nodes.may_forget(now) {
            return Ok(());
        }
        let over = self
            .state
            .read()
            .nodes
            .forgettable(now)
            .take(FORGOTTEN_PER_TICK)
            .collect::<Vec<_>>();
        if over.is_empty() {
            return Ok(());
        }
        let as_read = |(id, seq): &(SpiffeId, Seq)| {
            Precondition::Unchanged(Kind::Node, id.as_str().to_owned(), *seq)
        };
        let unchanged = over.iter().map(as_read).collect();
        let streams = {
            let state = self.state.read();
            let told = over
                .iter()
                .filter(|(id, _)| state.streams.get(id).is_some());
            told.map(|(id, _)| Change::Stream(id.clone(), None))
                .collect::<Vec<_>>()
        };
        let gone = over.into_iter().map(|(id, _)| Change::Node(id, None));
        let gone = gone.chain(streams).collect();
        match self.change_unlogged(gone, unchanged).await {
            // Some node attested at this moment: the next tick looks again.
            Err(StoreError::Conflict) => Ok(()),
            forgotten => Ok(forgotten.map(drop)?),
        }
    }

    /// Tokens, tombstones and waivers whose time is over.
    fn forgettable(&self, now: Timestamp) -> Vec<Change> {
        let pending = self.prepared_root().map(|root| root.key_id);
        let state = self.state.read();
        let tokens = state.tokens.forgettable(now, FORGOTTEN_PER_TICK);
        let tombstones = &state.registry.tombstones;
        let tombstones = tombstones.expired(now, FORGOTTEN_PER_TICK);
        let waivers = state.waivers.over(pending.as_deref(), now);
        let tokens = tokens.into_iter().map(|it| Change::Token(it, None));
        let tombstones = tombstones.into_iter();
        let tombstones = tombstones.map(|it| Change::Tombstone(it, None));
        let waivers = waivers.into_iter().map(|it| Change::Waiver(it, None));
        tokens.chain(tombstones).chain(waivers).collect()
    }
}

/// What another control plane did at the same moment is looked at again by the next tick.
fn or_next_tick(done: Result<(), AuthorityError>) -> Result<(), AuthorityError> {
    match done {
        Err(AuthorityError::Overtaken) => Ok(()),
        done => done,
    }
}
