//! Builds the to-be-signed bytes. The "key" that rcgen is given signs nothing: it only keeps
//! what it was asked to sign.

use std::sync::Mutex;

use countersign_model::{Lifetime, Serial};
use jiff::Timestamp;
use rcgen::{
    CertificateParams, KeyIdMethod, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;

use super::key::PublicKey;
use super::profile::{Issuer, Subject, distinguished_name};

/// The to-be-signed certificate, DER.
pub fn build(
    subject: &Subject,
    key: &PublicKey,
    serial: Serial,
    issuer: &Issuer,
    lifetime: &Lifetime,
) -> Result<Vec<u8>, rcgen::Error> {
    seal(
        &params(subject, key, serial, issuer, lifetime)?,
        key,
        issuer,
    )
}

/// What would be signed, of finished parameters.
pub(super) fn seal(
    params: &CertificateParams,
    key: &PublicKey,
    issuer: &Issuer,
) -> Result<Vec<u8>, rcgen::Error> {
    let issuer_params = issuer_params(issuer)?;
    let witness = Witness::default();
    let ca = rcgen::Issuer::from_params(&issuer_params, &witness);
    params.signed_by(key, &ca)?;
    Ok(witness.into_message())
}

pub(super) fn params(
    subject: &Subject,
    key: &PublicKey,
    serial: Serial,
    issuer: &Issuer,
    lifetime: &Lifetime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.not_before = calendar(super::not_before(subject, lifetime.issued_at, issuer))?;
    params.not_after = calendar(lifetime.not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.subject_alt_names = vec![SanType::URI(subject.id.as_str().try_into()?)];
    for name in &subject.dns {
        let name = SanType::DnsName(name.as_str().try_into()?);
        params.subject_alt_names.push(name);
    }
    params.distinguished_name = distinguished_name(subject.common_name.as_deref());
    params.is_ca = subject.profile.basic_constraints();
    let shape = subject.profile.shape();
    params.key_usages = shape.key_usages.to_vec();
    params.extended_key_usages = shape.extended_key_usages.to_vec();
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.id().to_vec());
    Ok(params)
}

fn issuer_params(issuer: &Issuer) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(Some(&issuer.common_name));
    params.key_identifier_method = key_identifier(&issuer.key_identifier)?;
    Ok(params)
}

fn key_identifier(key_id: &str) -> Result<KeyIdMethod, rcgen::Error> {
    let bytes = hex::decode(key_id).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok(KeyIdMethod::PreSpecified(bytes))
}

fn calendar(time: Timestamp) -> Result<OffsetDateTime, rcgen::Error> {
    OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|_| rcgen::Error::Time)
}

/// A signing key without a key: it remembers the message and answers with a constant.
#[derive(Default)]
struct Witness(Mutex<Vec<u8>>);

impl Witness {
    fn into_message(self) -> Vec<u8> {
        self.0.into_inner().expect("no writer panicked")
    }
}

impl PublicKeyData for Witness {
    fn der_bytes(&self) -> &[u8] {
        &[]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Witness {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        *self.0.lock().expect("no writer panicked") = message.to_vec();
        Ok(vec![0])
    }
}
