//! The control plane's own certificate, for its listener. Its key is made here and claimed by
//! nobody: no caller may have it certified.

use std::time::Duration;

use countersign_issue::PrepareError;
use countersign_issue::profile::{Profile, Subject};
use countersign_model::Lifetime;
use countersign_registry::rules::ISSUING_LIVES;
use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use zeroize::Zeroizing;

use crate::undelivered::Undelivered;
use crate::{Authority, AuthorityError, ServerIdentity};

/// Lifetime of the control plane's own SVID, where an issuing CA lives long enough.
const SERVER_TTL: Duration = Duration::from_secs(3_600);

impl Authority {
    /// A fresh identity for the API listener.
    ///
    /// # Errors
    /// The store or the CA is unavailable.
    pub async fn server_identity(&self, now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PrepareError::from)?;
        let ttl = SERVER_TTL.min(self.settings.issuing_ttl / ISSUING_LIVES);
        let times = &self.settings.times;
        let subject = Box::new(Subject::server(self.trust_domain(), ttl, times));
        let spki = pair.subject_public_key_info();
        self.hierarchy.refused_keys().note_server(&spki);
        let (issuer, ca) = self.issuer(Profile::Server, now)?;
        let certified = self.certify(subject, &spki, &issuer, ca.as_ref(), now);
        let signed = certified.await?;
        let issuance = signed.issuance();
        self.note_leaf(issuance);
        let chain = self.presented(&signed);
        match &chain {
            Ok(_) => self.ledger.delivered(&signed),
            Err(_) => {
                let undelivered = Undelivered::of(issuance);
                self.void_undelivered(undelivered, now).await;
            }
        }
        Ok(ServerIdentity {
            lifetime: Lifetime {
                issued_at: issuance.issued_at,
                not_after: issuance.not_after,
            },
            chain: chain?,
            key: Zeroizing::new(pair.serialize_der()),
        })
    }
}
