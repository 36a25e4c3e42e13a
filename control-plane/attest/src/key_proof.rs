//! Possession of a private key, proved on this TLS session.

use std::fmt;

use countersign_model::EntitlementId;
use countersign_verify::proof;
use sha2::{Digest, Sha256};

use countersign_refusal::Denied;

/// A public key whose holder has proved possession on this session, for one entitlement.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvenKey {
    spki: Vec<u8>,
    entitlement: EntitlementId,
}

impl ProvenKey {
    /// Checks the signature over the session's exporter, the entitlement and the key itself.
    ///
    /// # Errors
    /// A proof that proves nothing, as `key_proof_invalid`.
    pub fn check(
        spki: &[u8],
        scheme: u16,
        signature: &[u8],
        exporter: &[u8; 32],
        entitlement: &EntitlementId,
    ) -> Result<Self, Denied> {
        let message = proof::message(exporter, entitlement.as_str(), spki);
        proof::verify(spki, scheme, signature, &message).map_err(|error| Denied {
            code: "key_proof_invalid",
            message: error.to_string(),
            remedy: "sign the proof on the connection that carries it, with the key that it names",
        })?;
        Ok(Self {
            spki: spki.to_vec(),
            entitlement: entitlement.clone(),
        })
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 over the SubjectPublicKeyInfo.
    pub fn spki_sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.spki).into()
    }

    /// The entitlement that the proof was made for.
    pub fn entitlement(&self) -> &EntitlementId {
        &self.entitlement
    }
}

impl fmt::Debug for ProvenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProvenKey({})", hex::encode(self.spki_sha256()))
    }
}
