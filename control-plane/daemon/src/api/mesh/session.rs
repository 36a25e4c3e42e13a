//! Which node a call comes from.
//!
//! A node authenticates by its own SVID in the handshake. While its connection lives it may renew
//! that proof: an enrolment of its node key on the same TLS session is bound to the session's
//! exporter, so the session goes on under the new certificate instead of being cut.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_model::SpiffeId;
use countersign_model::tables::{FirstEnd, give_back};
use countersign_serve::tls::TlsPeer;
use countersign_telemetry::{Principal, peer_line};
use countersign_verify::VerifiedSvid;
use jiff::Timestamp;
use tonic::{Extensions, Status};

use crate::plane::Plane;
use countersign_authority::AttestedNode;

/// The certificate that a session rests on.
#[derive(Clone, Copy, Debug)]
struct Proof {
    spki_sha256: [u8; 32],
    not_after: Timestamp,
}

/// A TLS session of a recognised node.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The node.
    pub(super) node: AttestedNode,
    /// Binds key proofs to this session.
    pub(super) exporter: [u8; 32],
    /// What the handshake proved.
    proof: Proof,
}

/// Recognises callers.
#[derive(Debug)]
pub(super) struct Sessions {
    plane: Arc<Plane>,
    /// The newest renewed proof of each node, for the session it was made on.
    renewed: Mutex<Renewed>,
}

/// Most renewed proofs that are remembered: one of each node that can have attested.
const MAX_RENEWED: usize = countersign_attest::nodes::MAX_NODES;

/// Renewed proofs by node, until they end.
#[derive(Debug, Default)]
struct Renewed {
    proofs: HashMap<SpiffeId, ([u8; 32], Proof)>,
    first_end: FirstEnd,
}

impl Renewed {
    /// Remembers a proof. Without room the session ends with the certificate of its handshake.
    fn insert(&mut self, id: &SpiffeId, exporter: [u8; 32], proof: Proof, now: Timestamp) {
        if self.first_end.is_before(now) {
            self.proofs.retain(|_, (_, proof)| proof.not_after >= now);
            give_back(&mut self.proofs);
            let ends = self.proofs.values().map(|(_, proof)| proof.not_after);
            self.first_end.follow(ends);
        }
        if self.proofs.len() < MAX_RENEWED || self.proofs.contains_key(id) {
            self.proofs.insert(id.clone(), (exporter, proof));
            self.first_end.note(proof.not_after);
        }
    }
}

impl Sessions {
    pub(super) fn new(plane: Arc<Plane>) -> Self {
        Self {
            plane,
            renewed: Mutex::default(),
        }
    }

    /// The node that makes this call.
    ///
    /// # Errors
    /// No certificate, an expired one, or one that is not a node's own: the caller learns no more
    /// than that, the log says why.
    pub(super) fn recognise(&self, call: &Extensions) -> Result<Session, Status> {
        let peer = call.get::<TlsPeer>();
        let peer = peer.ok_or_else(|| Status::internal("the connection has no peer"))?;
        self.judge(peer).map_err(|reason| {
            let authority = &self.plane.authority;
            let shown = peer.svid.as_ref().map(|svid| svid.serial.as_slice());
            if shown.is_some_and(|serial| authority.is_contradicted(serial)) {
                return older();
            }
            let id = peer.svid.as_ref().map(|svid| svid.id.as_str());
            let address = peer.address;
            let principal = id.map_or_else(|| Principal::source(address.ip()), Principal::identity);
            peer_line!(WARN, principal, peer = %address, spiffe_id = id, reason, "caller refused");
            refused()
        })
    }

    /// Whether a call on this connection would come from a node.
    pub(super) fn is_recognised(&self, peer: &TlsPeer) -> bool {
        self.judge(peer).is_ok()
    }

    fn judge(&self, peer: &TlsPeer) -> Result<Session, &'static str> {
        let svid = peer.svid.as_ref().ok_or("no client certificate")?;
        let handshake = Proof {
            spki_sha256: svid.spki_sha256,
            not_after: svid.not_after,
        };
        let proof = self.newest(&svid.id, &peer.exporter, handshake);
        let node = self.judge_proof(&svid.id, proof).or_else(|reason| {
            let recognised = self.judge_by_predecessor(svid);
            recognised.ok_or(reason)
        });
        Ok(Session {
            node: node?,
            exporter: peer.exporter,
            proof: handshake,
        })
    }

    fn judge_proof(&self, id: &SpiffeId, proof: Proof) -> Result<AttestedNode, &'static str> {
        if self.plane.clock.now() > proof.not_after {
            return Err("expired");
        }
        let node = self.plane.authority.recognise(id, &proof.spki_sha256);
        node.ok_or("not the SVID of a node")
    }

    /// A certificate that the state before a restore issued after its backup. Its session is judged
    /// as any other from then on.
    fn judge_by_predecessor(&self, svid: &VerifiedSvid) -> Option<AttestedNode> {
        let is_expired = self.plane.clock.now() > svid.not_after;
        let authority = &self.plane.authority;
        (!is_expired).then(|| authority.recognise_by_predecessor(svid))?
    }

    /// Until when the session is good, as things stand.
    ///
    /// # Errors
    /// The node's credential expired, or it is no longer recognised.
    pub(super) fn good_until(&self, session: &Session) -> Result<Timestamp, Status> {
        let id = session.node.id();
        let proof = self.newest(id, &session.exporter, session.proof);
        let judged = self.judge_proof(id, proof).and_then(|node| {
            // The same key may have been certified for another attestation.
            let is_same = node == session.node;
            is_same.then_some(()).ok_or("attested anew")
        });
        judged.map(|()| proof.not_after).map_err(|reason| {
            let principal = Principal::identity(id.as_str());
            peer_line!(WARN, principal, node = %id, reason, "session ended");
            refused()
        })
    }

    /// The node proved on this session that it holds a newly certified node key.
    pub(super) fn renew(&self, session: &Session, spki_sha256: [u8; 32], not_after: Timestamp) {
        let proof = Proof {
            spki_sha256,
            not_after,
        };
        let (id, now) = (session.node.id(), self.plane.clock.now());
        self.lock().insert(id, session.exporter, proof, now);
    }

    fn newest(&self, id: &SpiffeId, exporter: &[u8; 32], handshake: Proof) -> Proof {
        match self.lock().proofs.get(id) {
            Some((session, renewed)) if session == exporter => *renewed,
            _ => handshake,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Renewed> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To who has shown a certificate of ours that this state does not know.
pub(super) fn older() -> Status {
    Status::data_loss("a certificate that it issued is not in its log")
}

fn refused() -> Status {
    Status::unauthenticated("a node's own, unexpired X.509-SVID is needed")
}

#[cfg(test)]
mod tests {
    use countersign_authority::ProvenKey;
    use rcgen::KeyPair;

    use super::super::testing::{self, EXPORTER, proven};
    use super::*;

    /// Attests and has the key certified: the session that follows.
    async fn attested(plane: &Plane, key: &ProvenKey) -> Session {
        let (node, svid) = testing::attested(plane, key).await;
        Session {
            node,
            exporter: EXPORTER,
            proof: Proof {
                spki_sha256: key.spki_sha256(),
                not_after: svid.lifetime.not_after,
            },
        }
    }

    /// Its key is certified in both lineages.
    #[tokio::test(flavor = "multi_thread")]
    async fn session_of_an_older_attestation_of_its_key_ends() {
        let folder = tempfile::tempdir().unwrap();
        let running = testing::running(folder.path()).await;
        let (plane, key) = (running.plane(), proven(&KeyPair::generate().unwrap()));
        let sessions = Sessions::new(plane.clone());
        let older = attested(plane, &key).await;
        sessions.good_until(&older).unwrap();
        let newer = attested(plane, &key).await;
        sessions.good_until(&newer).unwrap();
        let ended = sessions.good_until(&older).unwrap_err();
        assert_eq!(ended.code(), tonic::Code::Unauthenticated);
        running.drain().await;
    }

    #[test]
    fn renewed_proofs_are_bounded_and_end() {
        let mut renewed = Renewed::default();
        let id = |n: usize| SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let until = |second| Proof {
            spki_sha256: [0; 32],
            not_after: at(second),
        };
        for n in 0..=MAX_RENEWED {
            renewed.insert(&id(n), [0; 32], until(5), at(0));
        }
        assert_eq!(renewed.proofs.len(), MAX_RENEWED);
        renewed.insert(&id(3), [1; 32], until(9), at(5));
        assert_eq!(renewed.proofs[&id(3)].0, [1; 32], "a known one is replaced");
        renewed.insert(&id(MAX_RENEWED), [2; 32], until(9), at(6));
        assert_eq!(renewed.proofs.len(), 2);
        assert!(renewed.proofs.capacity() < MAX_RENEWED / 16);
    }
}
