//! What no control plane can do without: check the proof of possession, build the certificate with
//! rcgen, sign it with aws-lc. One thread, everything in memory.

use std::time::Duration;

use anyhow::Result;
use countersign_proto::mesh::Enrolment;
use countersign_verify::proof;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use time::OffsetDateTime;

use super::prepared::enrolment;
use super::{cpu, workload_id};

const EXPORTER: [u8; 32] = [7; 32];
const ENTITLEMENT: &str = "reg-00000000000000000000000000000000";

/// The primitive, ready to run.
pub struct Primitive {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Primitive {
    /// With a CA of its own.
    ///
    /// # Errors
    /// The library refused.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "Countersign Issuing CA");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// CPU time of one, as a mean over `count`.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn cpu(&self, count: u32) -> Result<Duration> {
        let requests: Vec<_> = (0..count).map(|_| prepared()).collect();
        let spent = cpu::of_this_thread(|| {
            for request in &requests {
                std::hint::black_box(self.issue(request).expect("it is issued"));
            }
        })?;
        Ok(spent / count)
    }

    /// CPU time of a single one, less what looking at the clock takes.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn cpu_of_one(&self, request: &Enrolment) -> Result<Duration> {
        let spent = cpu::of_this_thread(|| {
            std::hint::black_box(self.issue(request).expect("it is issued"));
        })?;
        Ok(spent.saturating_sub(cpu::of_this_thread(|| {})?))
    }

    /// One certificate.
    ///
    /// # Errors
    /// The proof is not good, or the library refused.
    pub fn issue(&self, request: &Enrolment) -> Result<Vec<u8>> {
        let key = request.key.as_ref().expect("an enrolment has a key");
        let message = proof::message(&EXPORTER, ENTITLEMENT, &key.spki);
        let scheme = u16::try_from(key.signature_scheme)?;
        proof::verify(&key.spki, scheme, &key.signature, &message)?;
        let public = SubjectPublicKeyInfo::from_der(&key.spki)?;
        let signed = params()?.signed_by(&public, &self.issuer)?;
        Ok(signed.der().to_vec())
    }
}

/// A request, ready to be issued for.
pub fn prepared() -> Enrolment {
    enrolment(&EXPORTER, ENTITLEMENT)
}

fn params() -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from_unix_timestamp(1_800_000_000)?;
    params.not_after = OffsetDateTime::from_unix_timestamp(1_800_003_600)?;
    params.serial_number = Some(SerialNumber::from_slice(&[7; 16]));
    params.subject_alt_names = vec![SanType::URI(workload_id(1, 1).as_str().try_into()?)];
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}
