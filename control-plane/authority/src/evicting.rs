//! Putting a node out, whoever holds its keys: at once, and for as long as it does not attest anew.
//!
//! An eviction ends everything that came before it: the lineage and every key of it, the open
//! stream, tokens that were not used yet, and what was published for the node. It is in the issuance
//! log first and committed before it is answered. What was issued stays valid until it ends: that is
//! told, for nothing here can call it back. A ban also keeps every later token from attesting.

use std::sync::Arc;

use countersign_attest::bans::Ban;
use countersign_attest::join_token::{Token, TokenHash};
use countersign_attest::nodes::StoredNode;
use countersign_model::{EntitlementId, Seq, SpiffeId};
use countersign_proto::log as entry;
use countersign_proto::log::entry::What;
use countersign_refusal::Denied;
use countersign_registry::rules;
use countersign_store::Precondition;
use jiff::Timestamp;
use tracing::{info, warn};

use super::attesting::as_read;
use super::reason::Act;
use super::state::{Change, State};
use super::{Authority, AuthorityError};

/// What an operator decided about a node.
#[derive(Clone, Debug)]
pub struct Eviction {
    /// The node.
    pub node: SpiffeId,
    /// Why, and who.
    pub act: Act,
    /// Whether no token may attest it until it is unbanned.
    pub is_ban: bool,
}

/// What an eviction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Its entry in the issuance log.
    pub log_index: u64,
    /// Whether a stream of the node was open.
    pub was_connected: bool,
    /// How many unused join tokens are good no more.
    pub tokens_revoked: usize,
    /// The latest NotAfter of what the node was issued; `None` where nothing is valid any more.
    pub valid_until: Option<Timestamp>,
}

impl Authority {
    /// Evicts or bans a node.
    ///
    /// # Errors
    /// No such node; the log or the store is unavailable, and nothing was ended.
    pub async fn evict(
        &self,
        eviction: Eviction,
        now: Timestamp,
    ) -> Result<Evicted, AuthorityError> {
        self.act(move |this| {
            let eviction = eviction.clone();
            async move { this.evict_now(eviction, now).await }
        })
        .await
    }

    /// Lets the tokens of a banned node attest again. It stays evicted until one does.
    ///
    /// # Errors
    /// It is not banned; the log or the store is unavailable.
    pub async fn unban(
        &self,
        node: &SpiffeId,
        act: Act,
        now: Timestamp,
    ) -> Result<u64, AuthorityError> {
        let node = node.clone();
        self.act(move |this| {
            let (node, act) = (node.clone(), act.clone());
            async move { this.unban_now(node, act, now).await }
        })
        .await
    }

    async fn evict_now(
        &self,
        eviction: Eviction,
        now: Timestamp,
    ) -> Result<Evicted, AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        self.may_be_evicted(&eviction)?;
        let node = eviction.node.clone();
        // No attestation and no renewal of the node itself is under way. What is enrolled for its
        // workloads meanwhile is judged again when it is published.
        let own = EntitlementId::node();
        let _none_enrols = self.enrolling.lock(Some(&node), &own).await;
        let ending = Arc::new(Ending::of(&self.state.read(), eviction, now));
        // Under the lock that ends it all.
        let (its, hub) = (Arc::clone(&ending), Arc::clone(self.state.hub()));
        let before = move |state: &State| {
            let is_connected = hub.is_connected(&its.eviction.node);
            (its.valid_until(state), is_connected)
        };
        let (what, changes) = (vec![ending.entry()], ending.changes());
        let changed = self.change(what, changes, vec![ending.as_read()], before, now);
        let (log_index, (valid_until, was_connected)) = changed.await?;
        self.withdraw_word(&node);
        let Eviction { act, is_ban, .. } = &ending.eviction;
        let (reason, operator) = (act.reason.as_str(), &act.operator);
        warn!(node = %node, is_ban, reason, operator, "node evicted");
        Ok(Evicted {
            log_index,
            was_connected,
            tokens_revoked: ending.revoked.len(),
            valid_until,
        })
    }
}

/// An eviction that is about to be made, and what it ends.
struct Ending {
    eviction: Eviction,
    /// With the commit that wrote it; `None` for a node that never attested.
    node: Option<(StoredNode, Seq)>,
    /// Unused tokens, as they are once they are revoked.
    revoked: Vec<(TokenHash, Token)>,
    now: Timestamp,
}

impl Ending {
    fn of(state: &State, eviction: Eviction, now: Timestamp) -> Self {
        let node = state.nodes.stored_by(&eviction.node);
        let node = node.map(|(node, seq)| (node.clone(), seq));
        let unused = state.tokens.unused(&eviction.node, now);
        let revoked = unused.map(|(hash, known)| (hash.clone(), known.token.revoked(now)));
        Self {
            revoked: revoked.collect(),
            node,
            eviction,
            now,
        }
    }

    fn entry(&self) -> What {
        let Eviction { node, act, is_ban } = &self.eviction;
        What::Evicted(entry::Evicted {
            node: node.to_string(),
            reason: act.reason.as_str().to_owned(),
            operator: act.operator.clone(),
            banned: *is_ban,
        })
    }

    fn node(&self) -> Option<StoredNode> {
        let reason = self.eviction.act.reason.as_str();
        let node = self.node.as_ref();
        node.map(|(node, _)| node.evicted(reason, self.now))
    }

    /// It did not attest meanwhile, on whichever control plane.
    fn as_read(&self) -> Precondition {
        let node = self.node.as_ref().map(|(node, seq)| (node, *seq));
        as_read(&self.eviction.node, node)
    }

    fn ban(&self) -> Option<Ban> {
        let reason = self.eviction.act.reason.as_str();
        self.eviction.is_ban.then(|| Ban {
            since: self.now,
            reason: reason.to_owned(),
        })
    }

    fn changes(&self) -> Vec<Change> {
        let id = &self.eviction.node;
        let node = self.node().map(|it| Change::Node(id.clone(), Some(it)));
        let ban = self.ban().map(|it| Change::Ban(id.clone(), Some(it)));
        let revoked = self.revoked.iter().cloned();
        let tokens = revoked.map(|(hash, token)| Change::Token(hash, Some(token)));
        node.into_iter().chain(ban).chain(tokens).collect()
    }

    /// Until when something that the node was issued is valid.
    fn valid_until(&self, state: &State) -> Option<Timestamp> {
        let end = state.nodes.credential_not_after(&self.eviction.node);
        end.filter(|end| *end > self.now)
    }
}

impl Authority {
    async fn unban_now(
        &self,
        node: SpiffeId,
        act: Act,
        now: Timestamp,
    ) -> Result<u64, AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        if self.state.read().bans.of(&node).is_none() {
            return Err(AuthorityError::Denied(Denied {
                code: "not_banned",
                message: format!("{node} is not banned"),
                remedy: "see `countersign node list`",
            }));
        }
        let reason = act.reason.as_str();
        let what = What::Unbanned(entry::Unbanned {
            node: node.to_string(),
            reason: reason.to_owned(),
            operator: act.operator.clone(),
        });
        let unbanned = vec![Change::Ban(node.clone(), None)];
        let changed = self.change(vec![what], unbanned, Vec::new(), |_| (), now);
        let (log_index, ()) = changed.await?;
        info!(node = %node, reason, operator = act.operator, "node unbanned");
        Ok(log_index)
    }

    /// A node that attested or has a token can be evicted; one that may come can be banned.
    fn may_be_evicted(&self, eviction: &Eviction) -> Result<(), Denied> {
        let node = &eviction.node;
        rules::member(node, self.trust_domain())?;
        let state = self.state.read();
        if eviction.is_ban {
            if state.registry.is_workload(node) {
                return Err(rules::node_is_workload(node));
            }
            return state.bans.check_room(node);
        }
        if state.nodes.contains(node) || state.tokens.expects(node) {
            return Ok(());
        }
        Err(Denied {
            code: "not_found",
            message: format!("{node} has not attested here, and no token is for it"),
            remedy: "see `countersign node list`",
        })
    }
}
