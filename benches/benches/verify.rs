//! What the SPIFFE rules cost over a bare path walk and over the signature checks themselves.
//!
//! Run: `cargo bench -p countersign-benches --bench verify`

#![allow(
    clippy::disallowed_methods,
    reason = "keys and signatures are made with the entropy of the operating system"
)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use countersign_benches::{Contestant, compare};
use countersign_model::{SpiffeId, TrustDomain};
use countersign_verify::{BundleSet, TrustBundle, verify_svid};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, UnixTime};

fn main() -> Result<()> {
    let chain = Chain::new()?;
    let now = Timestamp::from_second(1_800_000_000)?;
    let unix = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let signature = Signature::new()?;
    let presented = [chain.leaf.clone(), chain.issuing.clone()];
    compare(
        "a chain of leaf and issuing CA, P-256",
        vec![
            Contestant::new("two ECDSA P-256 verifications", || {
                signature.verify();
                signature.verify();
            }),
            Contestant::new("rustls-webpki path walk alone", || {
                chain.walk(unix).expect("the chain is valid");
            }),
            Contestant::new("verify_svid, all SPIFFE rules", || {
                verify_svid(&presented, &chain.bundles, &[], now).expect("the chain is valid")
            }),
        ],
    );
    Ok(())
}

struct Signature {
    public: Vec<u8>,
    signature: Vec<u8>,
}

impl Signature {
    fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let signature = key.sign(&random, MESSAGE)?.as_ref().to_vec();
        Ok(Self {
            public: key.public_key().as_ref().to_vec(),
            signature,
        })
    }

    fn verify(&self) {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.public)
            .verify(MESSAGE, &self.signature)
            .expect("the signature is valid");
    }
}

struct Chain {
    leaf: CertificateDer<'static>,
    issuing: CertificateDer<'static>,
    root: CertificateDer<'static>,
    bundles: BundleSet,
}

impl Chain {
    fn new() -> Result<Self> {
        let root = CertifiedIssuer::self_signed(authority("root", 1), KeyPair::generate()?)?;
        let issuing =
            CertifiedIssuer::signed_by(authority("issuing", 0), KeyPair::generate()?, &root)?;
        let leaf = svid()?.signed_by(&KeyPair::generate()?, &issuing)?;
        let trust_domain = TrustDomain::new("example.org")?;
        let bundle = TrustBundle::new(trust_domain, vec![root.der().clone()])?;
        Ok(Self {
            leaf: leaf.der().clone(),
            issuing: issuing.der().clone(),
            root: root.der().clone(),
            bundles: BundleSet::from_iter([Arc::new(bundle)]),
        })
    }

    fn walk(&self, now: UnixTime) -> Result<(), webpki::Error> {
        let anchor = webpki::anchor_from_trusted_cert(&self.root)?;
        webpki::EndEntityCert::try_from(&self.leaf)?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &[anchor],
                std::slice::from_ref(&self.issuing),
                now,
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .map(drop)
    }
}

fn authority(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params
}

fn svid() -> Result<CertificateParams> {
    let id = SpiffeId::new("spiffe://example.org/ns/shop/sa/checkout")?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

const MESSAGE: &[u8] = &[7; 400];
