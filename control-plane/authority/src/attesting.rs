//! The attestation of nodes: a token is burnt for a proven key, and begins a lineage.
//!
//! Whatever can be judged is judged before the token is burnt. What happens after it may fail, and
//! the answer may be lost: so the same token with the same key is a repeat, as long as the lineage
//! that it began is the node's and nothing but that key is known of it.

use countersign_attest::join_token::{self, KnownToken, TokenHash};
use countersign_attest::nodes::{MAX_NODES, StoredNode};
use countersign_inventory::LineageId;
use countersign_issue::key::PublicKey;
use countersign_issue::profile::Profile;
use countersign_model::{EntitlementId, SpiffeId};
use countersign_refusal::Denied;
use countersign_store::{Kind, Precondition, StoreError};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::state::Change;
use super::{AttestedNode, Authority, AuthorityError, ProvenKey};
use crate::series::Alarm;

impl Authority {
    /// Whether a join token may be good for a key that is not proven yet: cheap, so that a guess
    /// costs two hashes and no signature. Nothing is burnt.
    ///
    /// # Errors
    /// Unknown or expired token; one that was used by another key.
    pub fn check_join_token(
        &self,
        token: &str,
        spki: &[u8],
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let hash = TokenHash::of(token).ok_or_else(join_token::unknown)?;
        let known = self.known_token(&hash)?;
        Ok(known.token.check(&Sha256::digest(spki).into(), now)?)
    }

    /// Burns a join token for a node key, which begins a new lineage of the node that the token is
    /// for. The same token with the same key again is a repeat, and gives the same lineage.
    ///
    /// A node whose holder is connected is not attested a second time. The token stays good then:
    /// a sidecar that lost its state may still be counted as connected for as long as its old
    /// stream takes to die, and must be able to try again.
    ///
    /// # Errors
    /// Unknown, revoked or expired token; one that was used by another key, or before the newest
    /// attestation of its node; a banned node; a key that will not be certified; a connected holder (an alarm).
    pub async fn attest_join_token(
        &self,
        token: &str,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<AttestedNode, AuthorityError> {
        let hash = TokenHash::of(token).ok_or_else(join_token::unknown)?;
        self.may_be_certified(key.spki())?;
        let spki_sha256 = key.spki_sha256();
        self.to_the_end(async move |this| this.attest(hash, spki_sha256, now).await)
            .await
    }

    /// The rules about keys, before anything is given up for one that breaks them.
    fn may_be_certified(&self, spki: &[u8]) -> Result<(), AuthorityError> {
        let key = PublicKey::read(spki)?;
        Ok(self.refused_keys.keys().check(&key)?)
    }

    async fn attest(
        &self,
        hash: TokenHash,
        spki_sha256: [u8; 32],
        now: Timestamp,
    ) -> Result<AttestedNode, AuthorityError> {
        let node = self.known_token(&hash)?.token.node;
        // Attestations of one node happen one at a time. No enrolment of its own identity is under
        // way either: what the old holder gets has a lower index, or is refused because this
        // attestation came between.
        let own = EntitlementId::node();
        let _none_enrols = self.enrolling.lock(Some(&node), &own).await;
        let known = self.known_token(&hash)?;
        self.read().bans.check(&node)?;
        known.token.check(&spki_sha256, now)?;
        if known.token.used_at.is_some() {
            return Ok(self.repeated(&known, &spki_sha256, now)?);
        }
        self.is_away(&node)?;
        self.has_room_for(&node, &spki_sha256, now)?;
        self.burn(hash, known, &spki_sha256, now).await
    }

    /// The lineage that a token began, for whoever lost the answer. It must be the newest of its
    /// node, and no other key may be known in it: a holder who had another one certified has got
    /// the answer. It can be asked for until the token would have ended, and as long as the key's
    /// certificate is valid.
    fn repeated(
        &self,
        known: &KnownToken,
        spki_sha256: &[u8; 32],
        now: Timestamp,
    ) -> Result<AttestedNode, Denied> {
        let token = &known.token;
        let newest = self.newest_node_key(&token.node);
        let state = self.read();
        let is_in_time = !token.is_over(now) || state.keys.certified_at(spki_sha256, now).is_some();
        let lineage = state.nodes.of_lineage(&token.node, known.seq);
        let lineage = lineage.filter(|_| is_in_time);
        let other = newest.filter(|(index, key)| {
            key != spki_sha256 && !state.nodes.is_earlier(&token.node, *index)
        });
        let node = lineage.filter(|_| other.is_none());
        let node = node.ok_or_else(|| token.used())?;
        let principal = Principal::identity(node.id().as_str());
        peer_line!(INFO, principal, node = %node.id(), "attestation repeated: its answer was lost");
        Ok(node)
    }

    /// Log index and key of the newest certificate of a node's own identity.
    fn newest_node_key(&self, node: &SpiffeId) -> Option<(u64, [u8; 32])> {
        let own = EntitlementId::node();
        let id = LineageId::of(Profile::Svid, node.as_str(), node.as_str(), own.as_str());
        let inventory = self.listed();
        let newest = &inventory.lineage(&id)?.newest;
        Some((newest.serial.index(), newest.spki_sha256))
    }

    fn is_away(&self, node: &SpiffeId) -> Result<(), Denied> {
        if !self.hub.is_connected(node) {
            return Ok(());
        }
        self.metrics.alarm(Alarm::NodeConnected);
        // Not the node's own share: whoever shows its token must not silence what it does itself.
        let principal = Principal::part("attestation alarms");
        peer_line!(WARN, principal, %node, "alarm: attestation for a node whose holder is connected");
        Err(Denied {
            code: "node_connected",
            message: format!("{node} is connected: it is not attested a second time"),
            remedy: "stop the sidecar that holds this node's identity, or find out who it is",
        })
    }

    /// A token is not burnt for a certificate that cannot be made.
    fn has_room_for(
        &self,
        node: &SpiffeId,
        spki_sha256: &[u8; 32],
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        self.check_room(node)?;
        let state = self.read();
        if !state.nodes.has_room_for(node) {
            return Err(too_many_nodes().into());
        }
        let keys = &state.keys;
        keys.check_holder(spki_sha256, node, &EntitlementId::node(), now)?;
        // Whoever it was that had it put out may still hold the key and its certificate.
        let certified = keys.certified_at(spki_sha256, now);
        if certified.is_some_and(|index| state.nodes.is_ended(node, index)) {
            return Err(AuthorityError::Denied(Denied {
                code: "key_evicted",
                message: format!("this key was certified for {node} before it was evicted"),
                remedy: "attest with a fresh key",
            }));
        }
        Ok(())
    }

    /// The token is used and the node attested in one commit, which only one caller can win.
    async fn burn(
        &self,
        hash: TokenHash,
        known: KnownToken,
        spki_sha256: &[u8; 32],
        now: Timestamp,
    ) -> Result<AttestedNode, AuthorityError> {
        let node = known.token.node.clone();
        let token = known.token.burnt(spki_sha256, now);
        let before = self.read().nodes.stored(&node).cloned();
        let stored = StoredNode::attesting(before.as_ref(), self.log.size(), now);
        let unused = Precondition::Unchanged(Kind::Token, hash.as_str().to_owned(), known.seq);
        let changes = vec![
            Change::Token(hash, Some(token.clone())),
            Change::Node(node.clone(), Some(stored)),
        ];
        let seq = match self.change_unlogged(changes, vec![unused]).await {
            Err(StoreError::Conflict) => return Err(token.used().into()),
            other => other?,
        };
        let attested = self.read().nodes.of_lineage(&node, seq);
        attested.ok_or_else(|| {
            AuthorityError::Unavailable(format!("{node} was put out as it attested"))
        })
    }
}

fn too_many_nodes() -> Denied {
    Denied {
        code: "too_many_nodes",
        message: format!("{MAX_NODES} nodes are known"),
        remedy: "give machines the same node ID again; a node is forgotten 30 days after its \
                 last credential ended",
    }
}
