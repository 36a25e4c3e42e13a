//! Enrolment: a node has a key certified for one of its entitlements, and its streams are told.

use std::sync::Arc;

use countersign_ca::authorities::Path;
use countersign_ca::sign::Signed;
use countersign_fleet::Event;
use countersign_issue::issuance::Issuance;
use countersign_model::{Coordinate, EntitlementId, Seq, SpiffeId};
use countersign_refusal::Denied;
use countersign_registry::{Authorized, authorize};
use jiff::Timestamp;

use super::applicant::{Applicant, Key};
use super::steps::damaged_entry;
use crate::published::Holder;
use crate::state::State;
use crate::{AttestedNode, Authority, AuthorityError, ProvenKey, PublishedSvid};

/// A node that asks for the certificate of one of its entitlements.
struct Enrolment<'a> {
    node: &'a AttestedNode,
    entitlement: &'a EntitlementId,
}

impl Authority {
    /// Certifies a key for one entitlement of the node. Idempotent by (entitlement, SPKI).
    ///
    /// # Errors
    /// No such entitlement, an unacceptable key; or the store or the CA is unavailable.
    pub async fn enrol(
        &self,
        node: &AttestedNode,
        entitlement: &EntitlementId,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let (node, entitlement, key) = (node.clone(), entitlement.clone(), key.clone());
        // What was begun is finished and published, also for a caller that hangs up.
        self.to_the_end(async move |this| {
            this.enrol_unabandoned(&node, &entitlement, &key, now).await
        })
        .await
    }

    /// As [`enrol`](Self::enrol), for a caller that itself runs to its end whoever hangs up.
    ///
    /// # Errors
    /// As there.
    pub async fn enrol_unabandoned(
        &self,
        node: &AttestedNode,
        entitlement: &EntitlementId,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        if key.entitlement() != entitlement {
            return Err(proved_for_another().into());
        }
        let (spki, sha256) = (key.spki(), key.spki_sha256());
        let enrolment = Enrolment { node, entitlement };
        self.issue(&enrolment, &Key { spki, sha256 }, now).await
    }

    /// Makes an SVID visible, if the right to it still stands.
    ///
    /// # Errors
    /// The right to it was taken away meanwhile.
    pub fn publish(
        &self,
        node: &AttestedNode,
        signed: Signed,
        now: Timestamp,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let entitlement = &signed.issuance().entitlement;
        let entitlement = EntitlementId::parse(entitlement).ok_or_else(damaged_entry)?;
        let entitlement = &entitlement;
        self.publish_for(&Enrolment { node, entitlement }, signed, now)
    }
}

impl Applicant for Enrolment<'_> {
    type Given = Arc<PublishedSvid>;

    fn node(&self) -> Option<&SpiffeId> {
        Some(self.node.id())
    }

    fn entitlement(&self) -> &EntitlementId {
        self.entitlement
    }

    fn authorize(&self, state: &State, now: Timestamp) -> Result<Authorized, Denied> {
        if !state.nodes.is_current(self.node) {
            return Err(superseded(self.node));
        }
        authorize(&state.registry, self.node, self.entitlement, now)
    }

    /// A lineage ends with the next: nobody is given again what an earlier one was given.
    fn renews(
        &self,
        authority: &Authority,
        before: &Issuance,
        _: &Authorized,
        now: Timestamp,
    ) -> bool {
        let state = authority.state.read();
        let lineage = state.lineage(self.node.id(), before);
        state.nodes.is_earlier(self.node.id(), lineage) || now >= before.not_after
    }

    fn given_elsewhere(
        &self,
        state: &State,
        entry: Coordinate,
        right: &Authorized,
        now: Timestamp,
    ) -> Option<Self::Given> {
        let newest = state.published.newest(self.node.id(), self.entitlement)?;
        let is_it = newest.serial.coordinate() == entry;
        let is_allowed = newest.says(right) && now < newest.lifetime.not_after;
        (is_it && is_allowed).then_some(newest)
    }

    fn given(
        &self,
        signed: &Signed,
        above: Path,
        right: &Authorized,
    ) -> Result<Self::Given, AuthorityError> {
        let holder = Holder::of(right);
        let svid = holder.and_then(|holder| PublishedSvid::of(signed, above, holder));
        svid.map(Arc::new).ok_or_else(damaged_entry)
    }

    fn record(&self, state: &mut State, issuance: &Issuance, svid: &Self::Given) {
        state.certified(self.node.id(), self.entitlement, issuance);
        state.published.offer(svid.clone());
    }

    fn tell(&self, authority: &Authority, svid: &Self::Given) {
        let event = Event::Svid(svid.node.clone(), svid.entitlement.clone());
        authority.state.announce(Seq::default(), [event]);
    }
}

fn proved_for_another() -> Denied {
    Denied {
        code: "key_proof_invalid",
        message: "the key was proved for another entitlement".to_owned(),
        remedy: "sign the proof for the entitlement that is enrolled",
    }
}

fn superseded(node: &AttestedNode) -> Denied {
    Denied {
        code: "node_superseded",
        message: format!(
            "{} has attested anew since this session was opened",
            node.id()
        ),
        remedy: "connect again with the credential of the newest attestation",
    }
}
