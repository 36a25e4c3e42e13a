//! Envoy's payload messages, built and read through `envoy-types`.
//!
//! Nothing else of Countersign sees that crate. Never built here: a validation context without
//! `trusted_ca` (an Envoy then admits anybody), an empty bundle, a matcher (Envoy ORs it with the
//! operator's, so it could only widen).

use bytes::Bytes;
use countersign_model::TrustDomain;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{DataSource, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::spiffe_cert_validator_config::TrustDomain as ValidatorDomain;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroize;

mod pem;
#[cfg(test)]
mod tests;

/// Type URL of Envoy's Secret.
pub const SECRET_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/// The name by which Envoy knows its SPIFFE validator.
pub const SPIFFE_VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
/// Longest secret that is read.
pub const MAX_SECRET_BYTES: usize = 1 << 20;

/// A payload that does not decode to what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed secret: {0}")]
pub struct SecretError(pub &'static str);

/// A `TlsCertificate` secret with chain and private key (PKCS#8 DER), for a local Envoy.
///
/// The returned bytes hold the key; every copy made on the way is wiped.
pub fn tls_certificate(name: &str, chain: &[CertificateDer<'_>], pkcs8: &[u8]) -> Bytes {
    let mut secret = certificate_secret(name, chain, Some(pem::private_key(pkcs8)));
    let body = encode(&secret);
    wipe_private_key(&mut secret);
    body
}

/// A `TlsCertificate` secret with the chain alone: how a chain travels to a sidecar.
pub fn certificate_chain(name: &str, chain: &[CertificateDer<'_>]) -> Bytes {
    encode(&certificate_secret(name, chain, None))
}

/// The chain of a secret made by [`certificate_chain`].
///
/// # Errors
/// Another kind of secret, one that carries a private key, or a chain that is no PEM.
pub fn read_certificate_chain(body: &[u8]) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let mut secret = decode(body)?;
    let held_key = wipe_private_key(&mut secret);
    let Some(Type::TlsCertificate(certificate)) = secret.r#type else {
        return Err(SecretError("not a tls_certificate"));
    };
    let bare = TlsCertificate {
        certificate_chain: None,
        ..certificate.clone()
    };
    if held_key || bare != TlsCertificate::default() {
        return Err(SecretError("more than a certificate chain"));
    }
    pem::read_certificates(inline(certificate.certificate_chain.as_ref())?)
}

/// A plain `trusted_ca` of one trust domain, without any matcher. `roots` is not empty.
///
/// An empty list of roots, which no trust bundle is, yields a `trusted_ca` with an empty source:
/// every Envoy refuses that ("DataSource cannot be empty") and goes on with what it has. Left
/// out, the field would make it admit anybody.
pub fn trusted_ca(name: &str, roots: &[CertificateDer<'_>]) -> Bytes {
    encode(&validation_secret(
        name,
        CertificateValidationContext {
            trusted_ca: Some(source(pem::certificates(roots))),
            ..CertificateValidationContext::default()
        },
    ))
}

/// The roots of a secret made by [`trusted_ca`].
///
/// # Errors
/// Another kind of secret, one that says more than its roots, or roots that are no PEM.
pub fn read_trusted_ca(body: &[u8]) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let Some(Type::ValidationContext(context)) = decode(body)?.r#type else {
        return Err(SecretError("not a validation_context"));
    };
    let bare = CertificateValidationContext {
        trusted_ca: None,
        ..context.clone()
    };
    if bare != CertificateValidationContext::default() {
        return Err(SecretError("more than a trusted_ca"));
    }
    pem::read_certificates(inline(context.trusted_ca.as_ref())?)
}

/// Envoy's SPIFFE validator with one bundle for each trust domain, sorted by name. A trust domain
/// without roots is left out; without any, nobody passes the validator.
pub fn spiffe_validator(name: &str, bundles: &[(&TrustDomain, &[CertificateDer<'_>])]) -> Bytes {
    let rooted = bundles.iter().filter(|(_, roots)| !roots.is_empty());
    let mut trust_domains: Vec<_> = rooted
        .map(|(trust_domain, roots)| ValidatorDomain {
            name: trust_domain.as_str().to_owned(),
            trust_bundle: Some(source(pem::certificates(roots))),
            ..ValidatorDomain::default()
        })
        .collect();
    trust_domains.sort_by(|a, b| a.name.cmp(&b.name));
    let config = SpiffeCertValidatorConfig {
        trust_domains,
        ..SpiffeCertValidatorConfig::default()
    };
    encode(&validation_secret(
        name,
        CertificateValidationContext {
            custom_validator_config: Some(TypedExtensionConfig {
                name: SPIFFE_VALIDATOR.to_owned(),
                typed_config: Some(Any {
                    type_url: SpiffeCertValidatorConfig::type_url(),
                    value: config.encode_to_vec(),
                }),
            }),
            ..CertificateValidationContext::default()
        },
    ))
}

fn certificate_secret(name: &str, chain: &[CertificateDer<'_>], key: Option<Vec<u8>>) -> Secret {
    Secret {
        name: name.to_owned(),
        r#type: Some(Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(source(pem::certificates(chain))),
            private_key: key.map(source),
            ..TlsCertificate::default()
        })),
    }
}

fn validation_secret(name: &str, context: CertificateValidationContext) -> Secret {
    Secret {
        name: name.to_owned(),
        r#type: Some(Type::ValidationContext(context)),
    }
}

fn source(pem: Vec<u8>) -> DataSource {
    DataSource {
        specifier: Some(Specifier::InlineBytes(pem)),
        ..DataSource::default()
    }
}

fn inline(source: Option<&DataSource>) -> Result<&[u8], SecretError> {
    match source.and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineBytes(pem)) => Ok(pem),
        _ => Err(SecretError("no inline bytes")),
    }
}

/// Encodes into a buffer of the exact size, so that no partial copy stays behind on the heap.
fn encode(secret: &Secret) -> Bytes {
    let mut body = Vec::with_capacity(secret.encoded_len());
    secret
        .encode(&mut body)
        .expect("a vector grows to what it is given");
    Bytes::from(body)
}

fn decode(body: &[u8]) -> Result<Secret, SecretError> {
    if body.len() > MAX_SECRET_BYTES {
        return Err(SecretError("too long"));
    }
    Secret::decode(body).map_err(|_| SecretError("not a secret"))
}

/// Wipes an inline private key; whether there was any private key.
fn wipe_private_key(secret: &mut Secret) -> bool {
    let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type else {
        return false;
    };
    let Some(key) = certificate.private_key.take() else {
        return false;
    };
    match key.specifier {
        Some(Specifier::InlineBytes(mut bytes)) => bytes.zeroize(),
        Some(Specifier::InlineString(mut text)) => text.zeroize(),
        _ => {}
    }
    true
}
