//! The steps that everything takes that this control plane signs, leaf or CA: lint, log, sign, in
//! this order, each with the proof of the one before.

use std::sync::Arc;

use countersign_ca::authorities::Path;
use countersign_ca::key::CaKey;
use countersign_ca::log::{Logged, NotLogged};
use countersign_ca::sign::{Signed, sign};
use countersign_issue::issuance::Issuance;
use countersign_issue::key::PublicKey;
use countersign_issue::profile::{Issuer, Profile, Subject};
use countersign_issue::{PrepareError, prepare};
use countersign_refusal::Unavailable;
use countersign_telemetry::{Principal, peer_line};
use countersign_tlog::AppendError;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;
use tracing::{Instrument, info_span};

use crate::series::{Alarm, Phase};
use crate::undelivered::Undelivered;
use crate::{Authority, AuthorityError};

impl Authority {
    /// The active issuing CA and its key, where a certificate of this profile may be issued now.
    ///
    /// # Errors
    /// There is none that can sign, or what it signs would be refused by everybody.
    pub(crate) fn issuer(
        &self,
        profile: Profile,
        now: Timestamp,
    ) -> Result<(Issuer, Arc<dyn CaKey>), AuthorityError> {
        self.check_clock(now)?;
        // Who finds out what is wrong needs the listener.
        if profile != Profile::Server {
            self.check_not_put_back()?;
        }
        let (issuer, key) = self.hierarchy.read().issuing().ok_or_else(no_issuer)?;
        // An entry that nobody signs is of no use: a key that is known to be away costs none.
        key.ready()?;
        Ok((issuer, key))
    }

    /// Certifies a key that nobody claims, of a CA or of the listener: what is in the log and
    /// cannot be signed is void.
    pub(crate) async fn certify(
        &self,
        subject: Box<Subject>,
        spki: &[u8],
        issuer: &Issuer,
        key: &dyn CaKey,
        now: Timestamp,
    ) -> Result<Signed, AuthorityError> {
        key.ready()?;
        let logged = self.append(subject, spki, issuer, now).await?;
        let undelivered = Undelivered::of(logged.issuance());
        let signed = self.sign(logged, key);
        if signed.is_err() {
            self.void_undelivered(undelivered, now).await;
        }
        signed
    }

    /// Prepares and lints a certificate for the next place in the log, and makes it durable there.
    ///
    /// # Errors
    /// A rule refused it, the log did not take it, or too many entries wait to be voided.
    pub(crate) async fn append(
        &self,
        subject: Box<Subject>,
        spki: &[u8],
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<Logged, AuthorityError> {
        self.ledger.check_voids()?;
        self.check_decided()?;
        let begun = Instant::now();
        // Outside the log's lock: an RSA key takes its time.
        let leaf = PublicKey::read(spki).map_err(PrepareError::from)?;
        let prepared = |serial| {
            let lint = || prepare(*subject, &leaf, serial, issuer, now);
            self.metrics.timed(Phase::Lint, lint)
        };
        let appended = self
            .ledger
            .log()
            .append(prepared)
            .instrument(info_span!("log"));
        let logged = appended.await.map_err(|error| self.not_logged(error))?;
        self.metrics.took(Phase::Log, begun.elapsed());
        Ok(logged)
    }

    /// An entry would wait for the commit before it for as long as that is undecided, and with it whoever asks:
    /// it is refused at once.
    fn check_decided(&self) -> Result<(), Unavailable> {
        if self.store.keeps_log() && self.store.is_undecided() {
            let undecided = "the database did not say what became of a commit, and is asked";
            return Err(Unavailable::retry(undecided));
        }
        Ok(())
    }

    /// Signs what the log holds, and keeps the signature beside it.
    ///
    /// # Errors
    /// The key cannot be used.
    pub(crate) fn sign(&self, logged: Logged, key: &dyn CaKey) -> Result<Signed, AuthorityError> {
        let sign = || sign(logged, key);
        let signed = self.metrics.timed(Phase::Sign, sign)?;
        self.keep(&signed);
        Ok(signed)
    }

    /// The same for a leaf. Its CA is not dropped before the leaf has ended.
    pub(crate) fn sign_leaf(
        &self,
        logged: Logged,
        key: &dyn CaKey,
    ) -> Result<Signed, AuthorityError> {
        let signed = self.sign(logged, key)?;
        self.note_leaf(signed.issuance());
        Ok(signed)
    }

    /// The certificate of a log entry; its signature is made again where a crash took it away.
    pub(crate) fn signed_again(&self, logged: Logged) -> Result<Signed, AuthorityError> {
        let logged = match self.ledger.log().signed_before(logged)? {
            Ok(signed) => return Ok(signed),
            Err(logged) => logged,
        };
        let key = self.hierarchy.read().key(&logged.issuance().issuer);
        let signed = sign(logged, key.ok_or_else(no_issuer)?.as_ref())?;
        self.keep(&signed);
        Ok(signed)
    }

    /// Notes until when a leaf lives under its CA, which is not dropped before.
    pub(crate) fn note_leaf(&self, issuance: &Issuance) {
        let (issuer, end) = (&issuance.issuer, issuance.not_after);
        self.hierarchy.update(|cas| cas.note_leaf(issuer, end));
    }

    /// What the holder of a certificate presents: leaf first, root not included.
    pub(crate) fn presented(
        &self,
        signed: &Signed,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        Ok(presented(signed, &self.above(signed)?))
    }

    /// What stands above a certificate, root not included.
    pub(crate) fn above(&self, signed: &Signed) -> Result<Path, AuthorityError> {
        let above = self.hierarchy.read().path(&signed.issuance().issuer);
        above.ok_or_else(no_issuer)
    }

    /// Keeps the signature, so that the same certificate is found again after a restart. One that
    /// cannot be kept is made again then.
    fn keep(&self, signed: &Signed) {
        let index = signed.issuance().serial.index();
        if let Err(error) = self.ledger.log().keep_signature(index, signed.signature()) {
            let log = Principal::part("signatures");
            peer_line!(WARN, log, index, %error, "a signature was not kept beside its entry");
        }
    }

    fn not_logged(&self, error: AppendError<NotLogged>) -> AuthorityError {
        match error {
            AppendError::Made(error) => {
                if matches!(error, NotLogged::Prepare(PrepareError::IssuerExpired)) {
                    self.metrics.alarm(Alarm::IssuerExpired);
                    let issuer = Principal::part("issuing CA");
                    peer_line!(ERROR, issuer, "alarm: the issuing CA has expired");
                }
                error.into()
            }
            AppendError::Log(error) => error.into(),
        }
    }
}

/// A certificate and what stands above it: leaf first, root not included.
pub(crate) fn presented(signed: &Signed, above: &Path) -> Vec<CertificateDer<'static>> {
    let chain = std::iter::once(signed.certificate()).chain(above.iter());
    chain.cloned().collect()
}

pub(crate) fn damaged_entry() -> AuthorityError {
    Unavailable::damaged("a log entry is damaged").into()
}

fn no_issuer() -> AuthorityError {
    Unavailable::retry("the issuing CA is not there").into()
}

/// Whether a certificate is one that is published to a node, or was signed for an operator.
pub(crate) fn is_published(signed: &Logged) -> bool {
    signed.issuance().profile == Profile::Svid
}
