//! Who asks for a certificate: what differs between one kind of caller and another.

use countersign_ca::authorities::Path;
use countersign_ca::sign::Signed;
use countersign_issue::issuance::Issuance;
use countersign_model::{Coordinate, EntitlementId, SpiffeId};
use countersign_refusal::Denied;
use countersign_registry::Authorized;
use jiff::Timestamp;

use crate::state::State;
use crate::{Authority, AuthorityError};

/// The key that shall be certified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    /// SubjectPublicKeyInfo, DER.
    pub(crate) spki: &'a [u8],
    /// SHA-256 over it.
    pub(crate) sha256: [u8; 32],
}

/// One who asks for a certificate.
///
/// [`Authority::issue`] knows the steps and their order; an applicant answers what it cannot know.
pub(crate) trait Applicant: Sync {
    /// What the applicant is given.
    type Given;

    /// The node that holds the key; none where no node does.
    fn node(&self) -> Option<&SpiffeId>;

    /// The entitlement that the certificate is for. One is made at a time for each node and
    /// entitlement.
    fn entitlement(&self) -> &EntitlementId;

    /// The right to the certificate, as the state has it. Asked before a key is claimed, again when
    /// the certificate is in the log, and under the lock under which it is published, for the right
    /// may end meanwhile.
    ///
    /// # Errors
    /// There is no such right, or it ended.
    fn authorize(&self, state: &State, now: Timestamp) -> Result<Authorized, Denied>;

    /// Whether a key that has this certificate gets another one, in place of the same again: a
    /// sidecar makes a key for each certificate, a device may keep its own.
    fn renews(
        &self,
        authority: &Authority,
        before: &Issuance,
        authorized: &Authorized,
        now: Timestamp,
    ) -> bool;

    /// What the applicant was given for a key that another control plane certified, where that is known
    /// here and says what is allowed now.
    fn given_elsewhere(
        &self,
        state: &State,
        entry: Coordinate,
        right: &Authorized,
        now: Timestamp,
    ) -> Option<Self::Given>;

    /// What the applicant is given for a signed certificate and the CAs above it.
    ///
    /// # Errors
    /// The certificate is not the applicant's.
    fn given(
        &self,
        signed: &Signed,
        above: Path,
        right: &Authorized,
    ) -> Result<Self::Given, AuthorityError>;

    /// Makes the certificate part of the state. The caller records the use of the key.
    fn record(&self, state: &mut State, issuance: &Issuance, given: &Self::Given);

    /// Tells those who wait for it, once the state can be read.
    fn tell(&self, authority: &Authority, given: &Self::Given);
}
