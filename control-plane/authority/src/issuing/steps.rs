//! Signing: lint, log, sign, in this order, each with the proof of the one before. Everything that
//! this control plane signs, leaf or CA, comes through here.

use std::sync::PoisonError;
use std::time::Instant;

use countersign_ca::authorities::Path;
use countersign_ca::key::CaKey;
use countersign_ca::log::{Logged, NotLogged};
use countersign_ca::sign::{Signed, sign};
use countersign_issue::PrepareError;
use countersign_issue::issuance::Issuance;
use countersign_issue::key::PublicKey;
use countersign_issue::profile::{Issuer, Profile, Subject};
use countersign_refusal::Denied;
use countersign_telemetry::{Principal, peer_line};
use countersign_tlog::AppendError;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tracing::{Instrument, info_span};

use crate::series::{Alarm, Phase};
use crate::undelivered::Undelivered;
use crate::{Authority, AuthorityError};

impl Authority {
    /// Certifies a key with a CA: prepared and checked for the next coordinate of the log, durable
    /// there, then signed.
    pub(crate) async fn signed(
        &self,
        subject: Box<Subject>,
        spki: &[u8],
        issuer: &Issuer,
        key: &dyn CaKey,
        now: Timestamp,
    ) -> Result<Signed, AuthorityError> {
        key.ready()?;
        let logged = self.logged(subject, spki, issuer, now).await?;
        self.sign_or_void(logged, key, |_| Ok(()), now).await
    }

    async fn logged(
        &self,
        subject: Box<Subject>,
        spki: &[u8],
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<Logged, AuthorityError> {
        self.check_voids()?;
        let begun = Instant::now();
        // Outside the log's lock: an RSA key takes its time.
        let key_read = PublicKey::read(spki).map_err(PrepareError::from)?;
        let prepare = |serial| {
            let lint = || countersign_issue::prepare(*subject, &key_read, serial, issuer, now);
            self.metrics.timed(Phase::Lint, lint)
        };
        let appended = self.log.append(prepare).instrument(info_span!("log"));
        let logged = appended.await.map_err(|error| self.not_logged(error))?;
        self.metrics.took(Phase::Log, begun.elapsed());
        Ok(logged)
    }

    /// Signs what the log holds where the right to it `stands`; otherwise it is void.
    async fn sign_or_void(
        &self,
        logged: Logged,
        key: &dyn CaKey,
        stands: impl FnOnce(&Issuance) -> Result<(), Denied>,
        now: Timestamp,
    ) -> Result<Signed, AuthorityError> {
        let undelivered = Undelivered::of(logged.issuance());
        let signed = match stands(logged.issuance()) {
            Ok(()) => {
                let sign = || sign(logged, key);
                self.metrics.timed(Phase::Sign, sign).map_err(Into::into)
            }
            Err(denied) => Err(denied.into()),
        };
        match &signed {
            Ok(signed) => self.keep(signed),
            Err(_) => self.void_undelivered(undelivered, now).await,
        }
        signed
    }

    /// Certifies a key with the active issuing CA. `stands` is asked again whether it may be, when
    /// the certificate is in the log.
    pub(crate) async fn issue(
        &self,
        subject: Box<Subject>,
        spki: &[u8],
        stands: impl FnOnce(&Issuance) -> Result<(), Denied>,
        now: Timestamp,
    ) -> Result<Signed, AuthorityError> {
        self.check_clock(now)?;
        // Who finds out what is wrong needs the listener.
        if subject.profile() != Profile::Server {
            self.check_not_put_back()?;
        }
        let (issuer, key) = self.cas().issuing().ok_or_else(no_issuer)?;
        // An entry that nobody signs is of no use: a key that is known to be away costs none.
        key.ready()?;
        let logged = self.logged(subject, spki, &issuer, now).await?;
        let signed = self.sign_or_void(logged, key.as_ref(), stands, now).await?;
        let mut cas = self.cas.write().unwrap_or_else(PoisonError::into_inner);
        cas.note_leaf(&issuer.key_id, signed.issuance().not_after);
        Ok(signed)
    }

    /// The certificate of a log entry; its signature is made again where a crash took it away.
    pub(crate) fn signed_again(&self, logged: Logged) -> Result<Signed, AuthorityError> {
        let logged = match self.log.signed_before(logged)? {
            Ok(signed) => return Ok(signed),
            Err(logged) => logged,
        };
        let key = self.cas().key(&logged.issuance().issuer);
        let signed = sign(logged, key.ok_or_else(no_issuer)?.as_ref())?;
        self.keep(&signed);
        Ok(signed)
    }

    /// What the holder of a certificate presents: leaf first, root not included.
    pub(crate) fn presented(
        &self,
        signed: &Signed,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        let above = self.above(signed)?;
        let chain = std::iter::once(signed.certificate()).chain(above.iter());
        Ok(chain.cloned().collect())
    }

    /// What stands above a certificate, root not included.
    pub(crate) fn above(&self, signed: &Signed) -> Result<Path, AuthorityError> {
        let above = self.cas().path(&signed.issuance().issuer);
        above.ok_or_else(no_issuer)
    }

    /// Keeps the signature, so that the same certificate is found again after a restart. One that
    /// cannot be kept is made again then.
    fn keep(&self, signed: &Signed) {
        let index = signed.issuance().serial.index();
        if let Err(error) = self.log.keep_signature(index, signed.signature()) {
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

pub(crate) fn damaged_entry() -> AuthorityError {
    AuthorityError::Unavailable("a log entry is damaged".to_owned())
}

pub(crate) fn no_issuer() -> AuthorityError {
    AuthorityError::Unavailable("the issuing CA is not there".to_owned())
}

/// Whether a certificate is one that is published to a node.
pub(crate) fn is_published(signed: &Logged) -> bool {
    signed.issuance().profile == Profile::Svid
}
