//! The claim to a key, from before its certificate is made until that is given or void.
//!
//! A claim says for whom a key is certified, so that no two entries of the log ever name two
//! identities for one key. It ends in one of three ways, and the last two happen by themselves
//! where it is dropped: the certificate was [delivered](Claim::delivered) and the key has it; the
//! log holds no certificate and the key is given up; the log holds one that nobody was given, which
//! is void, and whose key stays with its holder until that certificate would have ended.

use std::sync::Arc;

use countersign_ca::log::Logged;
use countersign_issue::issuance::Issuance;
use countersign_issue::profile::{Issuer, Subject};
use countersign_model::Coordinate;
use countersign_refusal::Unavailable;
use countersign_registry::Authorized;
use jiff::Timestamp;

use super::applicant::{Applicant, Key};
use super::stripes::OneAtATime;
use super::to_its_end::ToItsEnd;
use crate::undelivered::Undelivered;
use crate::{Authority, AuthorityError};

/// A key that a certificate is made for.
///
/// Never dropped under the lock of the state, which dropping it takes.
#[derive(Debug)]
pub(crate) struct Claim {
    authority: Arc<Authority>,
    spki_sha256: [u8; 32],
    stage: Stage,
    /// Nobody else has a certificate made for the same entitlement until the claim is over.
    _one_at_a_time: OneAtATime,
}

/// How far a claim has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The key is taken, and the log holds no certificate for it.
    Claimed,
    /// The log holds the certificate.
    Logged(Undelivered),
    /// The certificate was given, and the key is kept for it.
    Delivered,
}

/// What claiming a key finds.
#[derive(Debug)]
pub(crate) enum Claimed<G> {
    /// A certificate is to be made for it.
    Key(Claim),
    /// It has this certificate, which its holder gets again. No other issuance for the entitlement
    /// begins before that is done: its signature may have to be made again, and once.
    Certified(Logged, OneAtATime),
    /// Another control plane had it certified, and this is what its holder was given.
    Given(G),
}

impl Authority {
    /// Claims a key for what was authorized.
    ///
    /// # Errors
    /// It is another's, or there is no room for one more; or the log cannot be read.
    pub(crate) fn claim<A: Applicant>(
        &self,
        applicant: &A,
        key: &Key<'_>,
        authorized: &Authorized,
        one_at_a_time: OneAtATime,
        now: Timestamp,
    ) -> Result<Claimed<A::Given>, AuthorityError> {
        let certified = self.state.write().keys.claim(key.sha256, authorized, now)?;
        if let Some(entry) = certified {
            match self.logged_before(entry)? {
                Some(before) if !applicant.renews(self, before.issuance(), authorized, now) => {
                    return Ok(Claimed::Certified(before, one_at_a_time));
                }
                Some(_) => {}
                None => {
                    let state = self.state.read();
                    let given = applicant.given_elsewhere(&state, entry, authorized, now);
                    if let Some(given) = given {
                        return Ok(Claimed::Given(given));
                    }
                }
            }
            self.state.write().keys.renew(key.sha256, authorized, now)?;
        }
        Ok(Claimed::Key(Claim {
            authority: self.this.upgrade().expect("we are called through it"),
            spki_sha256: key.sha256,
            stage: Stage::Claimed,
            _one_at_a_time: one_at_a_time,
        }))
    }

    /// [Appends](Self::append) the certificate for a claimed key to the log. What was handed to
    /// the log may be in it, so this goes on where the caller goes away: only then is known what
    /// becomes of the claim.
    pub(crate) async fn append_claimed(
        &self,
        mut claim: Claim,
        subject: Box<Subject>,
        spki: &[u8],
        issuer: Issuer,
        now: Timestamp,
    ) -> Result<(Claim, Logged), AuthorityError> {
        let spki = spki.to_vec();
        let append = async move {
            let authority = claim.authority.clone();
            let logged = authority.append(subject, &spki, &issuer, now).await?;
            claim.logged(logged.issuance());
            Ok((claim, logged))
        };
        ToItsEnd::new(append).await
    }

    /// The entry of a certificate that a key was given before; `None` where another control plane
    /// logged it.
    fn logged_before(&self, entry: Coordinate) -> Result<Option<Logged>, AuthorityError> {
        let logged = self.ledger.log().read_back(entry.index())?;
        let is_it = |it: &Logged| it.issuance().serial.coordinate() == entry;
        match logged.filter(is_it) {
            Some(logged) => Ok(Some(logged)),
            None if self.state.read().replicas.has_log(entry.log_id()) => Ok(None),
            None => {
                let missing = "an entry is missing from the issuance log";
                Err(Unavailable::damaged(missing).into())
            }
        }
    }
}

impl Claim {
    /// The certificate is in the log: from here on it is given, or void.
    fn logged(&mut self, issuance: &Issuance) {
        self.stage = Stage::Logged(Undelivered::of(issuance));
    }

    /// The certificate was given, and the table of keys has it.
    pub(crate) fn delivered(mut self) {
        self.stage = Stage::Delivered;
    }

    /// The certificate will be given to nobody: it is void, and the log says so now where it can.
    pub(crate) async fn void(self, now: Timestamp) {
        let authority = self.authority.clone();
        drop(self);
        authority.void_waiting(now).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        match self.stage {
            Stage::Claimed => {
                self.authority.state.write().keys.release(&self.spki_sha256);
            }
            Stage::Logged(undelivered) => self.authority.give_up(&undelivered),
            Stage::Delivered => {}
        }
    }
}
