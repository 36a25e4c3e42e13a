//! Which node a call comes from.
//!
//! A node authenticates by its own SVID in the handshake; the attestor [`node_svid`] judges it. While
//! its connection lives it may renew that proof, so that the session goes on under the new certificate
//! instead of being cut.
//!
//! [`node_svid`]: countersign_attest::node_svid

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_attest::attestor::SessionFacts;
use countersign_attest::node_svid::{self, Renewed, Shown};
use countersign_attest::refusals::Showing;
use countersign_model::SpiffeId;
use countersign_refusal::Denied;
use countersign_serve::tls::TlsPeer;
use countersign_telemetry::{Principal, peer_line};
use countersign_verify::VerifiedSvid;
use jiff::Timestamp;
use tonic::{Extensions, Status};

use crate::plane::Plane;
use countersign_authority::AttestedNode;

/// A TLS session of a recognised node.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The node.
    pub(super) node: AttestedNode,
    /// Binds key proofs to this session.
    pub(super) exporter: [u8; 32],
    /// What the handshake has shown.
    shown: Shown,
}

/// Recognises callers.
#[derive(Debug)]
pub(super) struct Sessions {
    plane: Arc<Plane>,
    /// The newest renewed proof of each node, for the session it was made on.
    renewed: Mutex<Renewed>,
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
            self.note_refused(peer, &reason);
            let id = peer.svid.as_ref().map(|svid| svid.id.as_str());
            let address = peer.address;
            let principal = id.map_or_else(|| Principal::source(address.ip()), Principal::identity);
            peer_line!(WARN, principal, peer = %address, spiffe_id = id, %reason, "caller refused");
            refused()
        })
    }

    /// Who has shown an SVID is remembered for operators; who has shown none may be anybody.
    fn note_refused(&self, peer: &TlsPeer, reason: &Denied) {
        if let Some(svid) = &peer.svid {
            let showing = Showing {
                method: node_svid::NAME,
                node: Some(svid.id.clone()),
            };
            self.plane.note_refused(peer.address.ip(), showing, reason);
        }
    }

    /// Whether a call on this connection would come from a node.
    pub(super) fn is_recognised(&self, peer: &TlsPeer) -> bool {
        self.judge(peer).is_ok()
    }

    fn judge(&self, peer: &TlsPeer) -> Result<Session, Denied> {
        let svid = peer.svid.as_ref().ok_or_else(no_certificate)?;
        let shown = Shown {
            spki_sha256: svid.spki_sha256,
            not_after: svid.not_after,
        };
        let newest = self.newest(&svid.id, &peer.exporter, shown);
        let node = self.recognise_by_svid(&svid.id, newest, peer.exporter);
        let node = node.or_else(|reason| match self.adopts(svid) {
            true => self.recognise_by_svid(&svid.id, shown, peer.exporter),
            false => Err(reason),
        });
        Ok(Session {
            node: node?,
            exporter: peer.exporter,
            shown,
        })
    }

    fn recognise_by_svid(
        &self,
        id: &SpiffeId,
        shown: Shown,
        exporter: [u8; 32],
    ) -> Result<AttestedNode, Denied> {
        let facts = SessionFacts {
            spki_sha256: shown.spki_sha256,
            exporter,
            now: self.plane.clock.now(),
        };
        let authority = &self.plane.authority;
        authority.recognise_by_svid(id, shown.not_after, &facts)
    }

    /// A certificate that the state before a restore issued after its backup. Its session is judged
    /// as any other from then on.
    fn adopts(&self, svid: &VerifiedSvid) -> bool {
        let is_expired = self.plane.clock.now() > svid.not_after;
        !is_expired && self.plane.authority.adopts(svid)
    }

    /// Until when the session is good, as things stand.
    ///
    /// # Errors
    /// The node's credential expired, or it is no longer recognised.
    pub(super) fn good_until(&self, session: &Session) -> Result<Timestamp, Status> {
        let id = session.node.id();
        let newest = self.newest(id, &session.exporter, session.shown);
        let recognised = self.recognise_by_svid(id, newest, session.exporter);
        let judged = recognised.and_then(|node| {
            // The same key may have been certified for another attestation.
            let is_same = node == session.node;
            is_same.then_some(()).ok_or_else(attested_anew)
        });
        judged.map(|()| newest.not_after).map_err(|reason| {
            let principal = Principal::identity(id.as_str());
            peer_line!(WARN, principal, node = %id, %reason, "session ended");
            refused()
        })
    }

    /// The node proved on this session that it holds a newly certified node key.
    pub(super) fn renew(&self, session: &Session, spki_sha256: [u8; 32], not_after: Timestamp) {
        let proof = Shown {
            spki_sha256,
            not_after,
        };
        let (id, now) = (session.node.id(), self.plane.clock.now());
        self.lock().insert(id, session.exporter, proof, now);
    }

    fn newest(&self, id: &SpiffeId, exporter: &[u8; 32], handshake: Shown) -> Shown {
        self.lock().newest(id, exporter, handshake)
    }

    fn lock(&self) -> MutexGuard<'_, Renewed> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To who has shown a certificate of ours that this state does not know.
pub(super) fn older() -> Status {
    Status::data_loss("a certificate that it issued is not in its log")
}

fn no_certificate() -> Denied {
    Denied {
        code: "no_certificate",
        message: "no client certificate".to_owned(),
        remedy: "present the node's own X.509-SVID in the handshake",
    }
}

fn attested_anew() -> Denied {
    Denied {
        code: "node_superseded",
        message: "attested anew".to_owned(),
        remedy: "connect with the certificate of the newest attestation",
    }
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
            shown: Shown {
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
}
