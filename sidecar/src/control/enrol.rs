//! The two calls that have a key certified: attestation for the node's first one, enrolment for
//! every other. Each carries a proof of possession that is bound to the connection it is made on.

use std::sync::Arc;
use std::time::Duration;

use countersign_model::{EntitlementId, Lifetime, SpiffeId, TrustDomain};
use countersign_proto::convert::ConvertError;
use countersign_proto::convert::enrol::read_answers;
use countersign_proto::convert::time::read_timestamp;
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_proto::mesh::mesh_client::MeshClient;
use countersign_proto::mesh::node_attestation_client::NodeAttestationClient;
use countersign_proto::mesh::{
    AttestNodeRequest, AttestNodeResponse, EnrolRequest, Enrolled, Enrolment, Hello, KeyProof,
};
use countersign_proto::{PROTOCOL_VERSION, REBALANCE, RETRY_PUSHBACK};
use countersign_serve::limits::MAX_MESSAGE_BYTES;
use countersign_verify::proof;
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::broken::{is_broken, status_words};
use super::dial::Link;
use crate::evidence::EvidenceError;
use crate::identity::keypair::ECDSA_SECP256R1_SHA256;
use crate::identity::renew::ENROL_DEADLINE;
use crate::identity::{KeyError, Keypair};

/// A control plane that asks for more patience than this is not obeyed beyond it.
pub(crate) const LONGEST_PUSHBACK: Duration = Duration::from_secs(30);

/// Why a key was not certified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EnrolError {
    /// The control plane said no, or was not reached.
    #[error("{}", status_words(.0))]
    Refused(#[from] Status),
    /// No answer in time.
    #[error("the control plane did not answer in time")]
    Deadline,
    /// An answer that does not say what it must.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// No proof could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is nothing to show.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

impl EnrolError {
    /// Whether the control plane said no, so that the same key would be denied again.
    pub(crate) fn is_denied(&self) -> bool {
        let is_no = |status: &Status| status.code() == Code::PermissionDenied;
        matches!(self, Self::Refused(status) if is_no(status)) || self.is_unknown()
    }

    /// Whether another control plane may do it: this one cannot now, does not recognise this node, as one whose
    /// clock is ahead, or did not answer, as one whose commit waits for a database that it does not reach.
    pub(super) fn may_be_done_elsewhere(&self) -> bool {
        let is_its = |code| matches!(code, Code::Unavailable | Code::Unauthenticated);
        match self {
            Self::Refused(status) => is_its(status.code()) && !is_broken(status),
            Self::Deadline => true,
            _ => false,
        }
    }

    /// Whether the control plane knows of no such right: one that it removed before we heard of it, or
    /// that came after the backup which it was restored from.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::NotFound)
    }

    /// How long a control plane that has too much to do asks us to stay away.
    pub(crate) fn pushback(&self) -> Option<Duration> {
        let Self::Refused(status) = self else {
            return None;
        };
        let asked = status.metadata().get(RETRY_PUSHBACK)?;
        let asked = Duration::from_millis(asked.to_str().ok()?.parse().ok()?);
        (status.code() == Code::ResourceExhausted).then(|| asked.min(LONGEST_PUSHBACK))
    }
}

impl From<ConvertError> for EnrolError {
    fn from(error: ConvertError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// What an attestation brought.
#[derive(Debug)]
pub(crate) struct Attestation {
    /// Which node this is.
    pub(crate) node_id: SpiffeId,
    /// Its chain, leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// From issue on; NotAfter is the leaf's.
    pub(crate) issued_at: jiff::Timestamp,
    /// The roots of the trust domain.
    pub(crate) bundle: Vec<CertificateDer<'static>>,
}

/// What this build says first.
pub(crate) fn hello() -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        capabilities: vec![REBALANCE.to_owned()],
        software: concat!("countersign-sidecar/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Hello::default()
    }
}

/// Attests this node with its evidence.
///
/// # Errors
/// A refusal, or an answer that cannot be used.
pub(crate) async fn attest(
    link: &Link,
    trust_domain: &TrustDomain,
    evidence: Evidence,
    key: &Keypair,
) -> Result<Attestation, EnrolError> {
    let request = AttestNodeRequest {
        hello: Some(hello()),
        key: Some(prove(link, &EntitlementId::node(), key)?),
        evidence: Some(evidence),
    };
    let mut client = NodeAttestationClient::new(link.channel.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let answer = timeout(ENROL_DEADLINE, client.attest_node(request))
        .await
        .map_err(|_| EnrolError::Deadline)?;
    let answer = answer.map_err(|status| match link.is_silent(&status) {
        true => EnrolError::Deadline,
        false => status.into(),
    })?;
    read_attestation(answer.into_inner(), trust_domain)
}

/// Has keys certified, at most [`MAX_ENROLMENTS`](countersign_proto::MAX_ENROLMENTS), each for an
/// entitlement: one answer for each, in order. The chains arrive on the discovery stream.
///
/// # Errors
/// The call failed as a whole.
pub(crate) async fn enrol(
    link: Link,
    keys: &[(EntitlementId, Arc<Keypair>)],
) -> Result<Vec<Result<Lifetime, EnrolError>>, EnrolError> {
    let enrolments = keys.iter().map(|(entitlement, key)| {
        Ok(Enrolment {
            entitlement: entitlement.to_string(),
            key: Some(prove(&link, entitlement, key)?),
        })
    });
    let enrolments = enrolments.collect::<Result<_, KeyError>>()?;
    let mut client = MeshClient::new(link.channel.clone());
    let response = timeout(ENROL_DEADLINE, client.enrol(EnrolRequest { enrolments }))
        .await
        .map_err(|_| EnrolError::Deadline)??;
    let answers = read_answers(response.into_inner(), keys.len())?;
    Ok(answers.into_iter().map(read_lifetime).collect())
}

fn read_lifetime(answer: Result<Enrolled, Status>) -> Result<Lifetime, EnrolError> {
    let enrolled = answer?;
    Ok(Lifetime {
        issued_at: read_timestamp("issued_at", enrolled.issued_at)?,
        not_after: read_timestamp("not_after", enrolled.not_after)?,
    })
}

fn read_attestation(
    answer: AttestNodeResponse,
    trust_domain: &TrustDomain,
) -> Result<Attestation, EnrolError> {
    let AttestNodeResponse {
        node_id,
        chain,
        issued_at,
        bundle,
        ..
    } = answer;
    let node_id = SpiffeId::with_path(&node_id)
        .ok()
        .filter(|id| id.is_member_of(trust_domain))
        .ok_or_else(|| EnrolError::Malformed("node_id is not of this trust domain".to_owned()))?;
    Ok(Attestation {
        node_id,
        chain: chain.into_iter().map(CertificateDer::from).collect(),
        issued_at: read_timestamp("issued_at", issued_at)?,
        bundle: bundle.into_iter().map(CertificateDer::from).collect(),
    })
}

fn prove(link: &Link, entitlement: &EntitlementId, key: &Keypair) -> Result<KeyProof, KeyError> {
    let message = proof::message(&link.exporter, entitlement.as_str(), key.spki());
    Ok(KeyProof {
        spki: key.spki().to_vec(),
        signature_scheme: u32::from(ECDSA_SECP256R1_SHA256),
        signature: key.sign(&message)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(mut status: Status, asked: &'static str) -> EnrolError {
        status
            .metadata_mut()
            .insert(RETRY_PUSHBACK, asked.parse().unwrap());
        status.into()
    }

    #[test]
    fn a_pushback_is_read_within_its_bound() {
        let full = || Status::resource_exhausted("too much");
        let asked = |text| answer(full(), text).pushback();
        assert_eq!(asked("1500"), Some(Duration::from_millis(1_500)));
        assert_eq!(asked("18446744073709551615"), Some(LONGEST_PUSHBACK));
        for odd in ["", "-1", "soon", "1.5", "18446744073709551616"] {
            assert_eq!(asked(odd), None, "{odd}");
        }
        assert_eq!(EnrolError::from(full()).pushback(), None);
        let denied = answer(Status::permission_denied("no"), "1500");
        assert_eq!(denied.pushback(), None);
    }

    #[test]
    fn only_a_no_is_a_denial() {
        assert!(EnrolError::from(Status::permission_denied("no")).is_denied());
        let unknown = EnrolError::from(Status::not_found("no such entitlement"));
        assert!(unknown.is_denied() && unknown.is_unknown());
        let others = [
            Status::resource_exhausted("too much").into(),
            Status::unavailable("not now").into(),
            EnrolError::Deadline,
        ];
        for other in others {
            assert!(!other.is_denied() && !other.is_unknown(), "{other}");
        }
    }
}
