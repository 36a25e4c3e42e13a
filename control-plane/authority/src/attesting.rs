//! What follows from the verdict of an attestor, whichever it is: the evidence is used up for a proven
//! key, and begins a lineage.
//!
//! Whatever can be judged is judged before the evidence is used up. What happens after it may fail,
//! and the answer may be lost: so the same evidence with the same key is a repeat, as long as the
//! lineage that it began is the node's and nothing but that key is known of it.

use countersign_attest::attestor::{
    Attestation, Attestor, Repetition, SessionFacts, ToldToHolder, Verdict, of_evidence,
};
use countersign_attest::node_svid::NodeSvid;
use countersign_attest::nodes::{MAX_NODES, StoredNode};
use countersign_attest::refusals::Showing;
use countersign_ca::log::Logged;
use countersign_issue::key::PublicKey;
use countersign_model::{Coordinate, EntitlementId, Seq, SpiffeId};
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_refusal::{Denied, Unavailable};
use countersign_store::{Kind, Precondition};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;

use super::state::Change;
use super::{AttestedNode, Authority, AuthorityError, ProvenKey};
use crate::series::Alarm;

impl Authority {
    /// Whether evidence may be good for a key that is not proven yet: cheap, so that a guess costs
    /// two hashes and no signature. Nothing is used up.
    ///
    /// # Errors
    /// What its attestor refuses at once, such as an unknown token.
    pub fn screen(&self, evidence: &Evidence, facts: &SessionFacts) -> Result<(), AuthorityError> {
        let state = self.state.read();
        Ok(of_evidence(evidence, state.known()).screen(facts)?)
    }

    /// Of evidence that was refused: what its holder may be told. Of what nobody was given, nothing.
    pub fn told_to_holder(&self, evidence: &Evidence, now: Timestamp) -> Option<ToldToHolder> {
        let state = self.state.read();
        of_evidence(evidence, state.known()).told_to_holder(now)
    }

    /// Of evidence that was refused: what operators are told of it.
    pub fn showing(&self, evidence: &Evidence) -> Showing {
        let state = self.state.read();
        let attestor = of_evidence(evidence, state.known());
        Showing {
            method: attestor.name(),
            node: attestor.proven_node(),
        }
    }

    /// Attests the node that evidence is for, which begins a new lineage of it under this key. The
    /// same evidence with the same key again is a repeat, and gives the same lineage.
    ///
    /// A node whose holder is connected here is not attested a second time; where it is connected to another
    /// control plane, that one raises the alarm. The evidence stays good then:
    /// a sidecar that lost its state may still be counted as connected for as long as its old
    /// stream takes to die, and must be able to try again.
    ///
    /// # Errors
    /// What its attestor refuses; evidence that began another lineage than the newest of its node; a
    /// banned node; a key that will not be certified; a connected holder (an alarm).
    pub async fn attest(
        &self,
        evidence: Evidence,
        key: &ProvenKey,
        facts: SessionFacts,
    ) -> Result<AttestedNode, AuthorityError> {
        let node = self.claimed(&evidence)?;
        self.may_be_certified(key.spki())?;
        let facts = SessionFacts {
            spki_sha256: key.spki_sha256(),
            ..facts
        };
        self.act(move |this| {
            let (node, evidence, facts) = (node.clone(), evidence.clone(), facts);
            async move { this.attest_alone(node, evidence, facts).await }
        })
        .await
    }

    /// The node that a handshake has shown by one of its current keys, which is unexpired. Anything
    /// else, such as a workload's SVID, recognises nobody.
    ///
    /// # Errors
    /// Why not.
    pub fn recognise_by_svid(
        &self,
        id: &SpiffeId,
        not_after: Timestamp,
        facts: &SessionFacts,
    ) -> Result<AttestedNode, Denied> {
        let state = self.state.read();
        let verdict = NodeSvid::new(id, not_after, &state.nodes).judge(facts);
        verdict?.recognised()
    }

    fn claimed(&self, evidence: &Evidence) -> Result<SpiffeId, Denied> {
        let state = self.state.read();
        of_evidence(evidence, state.known()).node()
    }

    /// The rules about keys, before anything is given up for one that breaks them.
    fn may_be_certified(&self, spki: &[u8]) -> Result<(), AuthorityError> {
        let key = PublicKey::read(spki)?;
        Ok(self.hierarchy.refused_keys().keys().check(&key)?)
    }

    /// Attestations of one node happen one at a time. No enrolment of its own identity is under way
    /// either: what the old holder gets is of the lineage before, or is refused because this attestation
    /// came between.
    async fn attest_alone(
        &self,
        node: SpiffeId,
        evidence: Evidence,
        facts: SessionFacts,
    ) -> Result<AttestedNode, AuthorityError> {
        let own = EntitlementId::node();
        let _none_enrols = self.enrolling.lock(Some(&node), &own).await;
        self.state.read().bans.check(&node)?;
        match self.verdict_on(&node, &evidence, &facts)? {
            Verdict::Recognised(node) => Ok(node),
            Verdict::Repeats(repetition) => Ok(self.repeated(&repetition, &facts)?),
            Verdict::Attests(attestation) => {
                self.is_away(&node)?;
                self.has_room_for(&node, &facts.spki_sha256, facts.now)?;
                self.begin_lineage(attestation, facts.now).await
            }
        }
    }

    /// The verdict, on the node that the lock is held for.
    fn verdict_on(
        &self,
        node: &SpiffeId,
        evidence: &Evidence,
        facts: &SessionFacts,
    ) -> Result<Verdict, Denied> {
        let state = self.state.read();
        let verdict = of_evidence(evidence, state.known()).judge(facts)?;
        if verdict.node() == node {
            return Ok(verdict);
        }
        Err(Denied {
            code: "other_node",
            message: format!("the evidence is for {}, and was for {node}", verdict.node()),
            remedy: "attest again",
        })
    }

    /// The lineage that evidence began, for whoever lost the answer. It must be the newest of its
    /// node, and no other key may be known in it: a holder who had another one certified has got
    /// the answer. It can be asked for until the evidence would have ended, and as long as the key's
    /// certificate is valid.
    fn repeated(
        &self,
        repetition: &Repetition,
        facts: &SessionFacts,
    ) -> Result<AttestedNode, Denied> {
        let (id, spki_sha256) = (repetition.node(), &facts.spki_sha256);
        let state = self.state.read();
        let is_certified = || state.keys.certified_at(spki_sha256, facts.now).is_some();
        let is_in_time = facts.now <= repetition.until() || is_certified();
        let lineage = state.nodes.of_lineage(id, repetition.lineage());
        let lineage = lineage.filter(|_| is_in_time);
        let newest = state.nodes.newest_key(id);
        let other = newest.filter(|key| key.spki_sha256 != *spki_sha256);
        let node = lineage.filter(|_| other.is_none());
        let node = node.ok_or_else(|| repetition.used().clone())?;
        let principal = Principal::identity(node.id().as_str());
        peer_line!(INFO, principal, node = %node.id(), "attestation repeated: its answer was lost");
        Ok(node)
    }

    fn is_away(&self, node: &SpiffeId) -> Result<(), Denied> {
        if !self.state.hub().is_connected(node) {
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

    /// Evidence is not used up for a certificate that cannot be made.
    fn has_room_for(
        &self,
        node: &SpiffeId,
        spki_sha256: &[u8; 32],
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        self.check_room(node)?;
        let state = self.state.read();
        if !state.nodes.has_room_for(node) {
            return Err(too_many_nodes().into());
        }
        let keys = &state.keys;
        keys.check_holder(spki_sha256, node, &EntitlementId::node(), now)?;
        // Whoever it was that had it put out may still hold the key and its certificate.
        let certified = keys.certified_at(spki_sha256, now);
        let ended = |entry: Coordinate| {
            let logged = self.ledger.log().read_back(entry.index());
            // Of another log none is known: whoever was put out once begins with a fresh key then.
            let is_it = |it: &Logged| it.issuance().serial.coordinate() == entry;
            let logged = logged.ok().flatten().filter(is_it);
            let lineage = logged.and_then(|it| state.lineage(node, it.issuance()));
            state.nodes.is_ended(node, lineage)
        };
        if certified.is_some_and(ended) {
            return Err(AuthorityError::Denied(Denied {
                code: "key_evicted",
                message: format!("this key was certified for {node} before it was evicted"),
                remedy: "attest with a fresh key",
            }));
        }
        Ok(())
    }

    /// The evidence is used up and the lineage begins in one commit, which only one caller can win, on
    /// whichever control plane. Whoever loses is judged again, by a state that knows the winner.
    async fn begin_lineage(
        &self,
        attestation: Attestation,
        now: Timestamp,
    ) -> Result<AttestedNode, AuthorityError> {
        let node = attestation.node();
        let (stored, as_read) = {
            let before = self.state.read();
            let before = before.nodes.stored_by(node);
            (attestation.stored(before, now), as_read(node, before))
        };
        let mut changes = vec![Change::Node(node.clone(), Some(stored))];
        let mut unchanged = vec![as_read];
        if let Some(spent) = attestation.spent() {
            let (hash, since) = (spent.hash(), spent.unchanged_since());
            changes.push(Change::Token(hash.clone(), Some(spent.token().clone())));
            unchanged.push(Precondition::Unchanged(
                Kind::Token,
                hash.as_str().to_owned(),
                since,
            ));
        }
        let seq = self.change_unlogged(changes, unchanged).await?;
        let attested = self.state.read().nodes.of_lineage(node, seq);
        let put_out = || Unavailable::retry(format!("{node} was put out as it attested"));
        Ok(attested.ok_or_else(put_out)?)
    }
}

/// The node neither attested nor was put out since it was looked at, on whichever control plane.
pub(super) fn as_read(node: &SpiffeId, read: Option<(&StoredNode, Seq)>) -> Precondition {
    let key = node.as_str().to_owned();
    match read {
        Some((_, seq)) => Precondition::Unchanged(Kind::Node, key, seq),
        None => Precondition::Absent(Kind::Node, key),
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
