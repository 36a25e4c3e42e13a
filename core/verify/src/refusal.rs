//! Why a chain is refused: one variant a rule, with the facts that broke it.
//!
//! A text from a certificate is never repeated, because it may be hostile and long. Certificates
//! are named by their index in the presented chain: 0 is the leaf.

use countersign_model::{SpiffeIdError, TrustDomain};
use jiff::Timestamp;

use crate::svid::{MAX_CHAIN_BYTES, MAX_CHAIN_CERTIFICATES, MAX_CRLS};

/// The first rule that a chain breaks, with the section of the standard that states it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No certificate at all.
    #[error("the chain is empty (X509-SVID.md section 5.1)")]
    EmptyChain,
    /// More than [`MAX_CHAIN_CERTIFICATES`].
    #[error(
        "the chain has {count} certificates, more than {MAX_CHAIN_CERTIFICATES} (limit of this verifier)"
    )]
    TooManyCertificates {
        /// How many were presented.
        count: usize,
    },
    /// More than [`MAX_CHAIN_BYTES`].
    #[error("the chain has {bytes} bytes, more than {MAX_CHAIN_BYTES} (limit of this verifier)")]
    TooManyBytes {
        /// How many were presented.
        bytes: usize,
    },
    /// Not one X.509 version 3 certificate in DER, or with bytes after it.
    #[error("certificate {index} is not one DER certificate of version 3 (RFC 5280 section 4.1)")]
    Malformed {
        /// Which certificate.
        index: usize,
    },
    /// An extension whose value does not parse.
    #[error("certificate {index} has a malformed extension {oid} (RFC 5280 section 4.2)")]
    MalformedExtension {
        /// Which certificate.
        index: usize,
        /// The extension's object identifier, dotted.
        oid: String,
    },
    /// One extension twice.
    #[error("certificate {index} has the same extension twice (RFC 5280 section 4.2)")]
    DuplicateExtension {
        /// Which certificate.
        index: usize,
    },
    /// A critical extension that this verifier does not process.
    #[error("certificate {index} has an unknown critical extension {oid} (RFC 5280 section 4.2)")]
    UnknownCriticalExtension {
        /// Which certificate.
        index: usize,
        /// The extension's object identifier, dotted.
        oid: String,
    },
    /// RSA outside 2048 to 8192 bits.
    #[error("certificate {index} has an RSA key of {bits} bits, not 2048 to 8192 (SP 800-131A)")]
    WeakKey {
        /// Which certificate.
        index: usize,
        /// Length of the modulus.
        bits: usize,
    },
    /// Neither ECDSA on P-256, P-384 or P-521 (uncompressed), nor RSA, nor Ed25519.
    #[error("certificate {index} has a key of an unsupported kind (RFC 8446 section 4.2.3)")]
    UnsupportedKey {
        /// Which certificate.
        index: usize,
    },
    /// Name constraints on URIs, which no path validator that we know applies correctly.
    #[error("certificate {index} constrains URI names, which is not supported (RFC 5280 4.2.1.10)")]
    UriNameConstraints {
        /// Which certificate.
        index: usize,
    },

    /// No URI SAN: no identity.
    #[error("the leaf has no URI SAN (X509-SVID.md section 2)")]
    NoUriSan,
    /// Which of them is the identity?
    #[error("the leaf has {count} URI SANs, not exactly one (X509-SVID.md section 2)")]
    ManyUriSans {
        /// How many.
        count: usize,
    },
    /// The URI SAN is no SPIFFE ID with a path.
    #[error("{0}")]
    SpiffeId(SpiffeIdError),
    /// With an empty subject the SAN is the only name.
    #[error("the leaf has an empty subject and its SAN is not critical (RFC 5280 section 4.2.1.6)")]
    SanNotCritical,
    /// cA is true: a signing certificate never authenticates.
    #[error("the leaf is a CA certificate (X509-SVID.md section 4.1)")]
    LeafIsCa,
    /// No key usage extension.
    #[error("certificate {index} has no key usage extension (X509-SVID.md section 4.3)")]
    NoKeyUsage {
        /// Which certificate.
        index: usize,
    },
    /// The key usage extension of the leaf is not critical.
    #[error("the leaf's key usage extension is not critical (X509-SVID.md section 4.3)")]
    KeyUsageNotCritical,
    /// digitalSignature is unset.
    #[error("the leaf's key usage lacks digitalSignature (X509-SVID.md section 4.3)")]
    NoDigitalSignature,
    /// keyCertSign on a leaf.
    #[error("the leaf's key usage has keyCertSign (X509-SVID.md section 4.3)")]
    LeafMaySignCertificates,
    /// cRLSign on a leaf.
    #[error("the leaf's key usage has cRLSign (X509-SVID.md section 4.3)")]
    LeafMaySignCrls,
    /// An extended key usage extension without a purpose.
    #[error("the leaf's extended key usage is empty (RFC 5280 section 4.2.1.12)")]
    EmptyExtendedKeyUsage,
    /// An extended key usage without both serverAuth and clientAuth.
    #[error(
        "the leaf's extended key usage lacks serverAuth or clientAuth (X509-SVID.md section 4.4)"
    )]
    ExtendedKeyUsage,

    /// An intermediate whose cA is not true.
    #[error("certificate {index} issues but is no CA certificate (X509-SVID.md section 4.1)")]
    IssuerIsNotCa {
        /// Which certificate.
        index: usize,
    },
    /// An intermediate without keyCertSign.
    #[error("certificate {index} issues without keyCertSign (X509-SVID.md section 4.3)")]
    IssuerMayNotSign {
        /// Which certificate.
        index: usize,
    },
    /// An intermediate whose extended key usage excludes what an SVID is for.
    #[error(
        "certificate {index} issues and its extended key usage lacks serverAuth or clientAuth (RFC 5280 section 4.2.1.12)"
    )]
    IssuerPurposes {
        /// Which certificate.
        index: usize,
    },
    /// An intermediate whose URI SAN is no SPIFFE ID without a path, or that has several.
    #[error(
        "certificate {index} issues and has a URI SAN that is no SPIFFE ID without a path (X509-SVID.md section 3.2)"
    )]
    IssuerSpiffeId {
        /// Which certificate.
        index: usize,
    },
    /// An intermediate of another trust domain than the leaf's.
    #[error(
        "certificate {index} is of {trust_domain}, not of the leaf's trust domain (X509-SVID.md section 3.2)"
    )]
    IssuerOfOtherTrustDomain {
        /// Which certificate.
        index: usize,
        /// Whose it is.
        trust_domain: TrustDomain,
    },

    /// No bundle for the leaf's trust domain. Other bundles are never asked.
    #[error("there is no trust bundle for {trust_domain} (X509-SVID.md section 5.1)")]
    UnknownTrustDomain {
        /// The leaf's trust domain.
        trust_domain: TrustDomain,
    },
    /// `now` is before NotBefore.
    #[error("certificate {index} is not valid before {not_before} (RFC 5280 section 4.1.2.5)")]
    NotYetValid {
        /// Which certificate.
        index: usize,
        /// From when it is valid.
        not_before: Timestamp,
    },
    /// `now` is after NotAfter.
    #[error("certificate {index} expired at {not_after} (RFC 5280 section 4.1.2.5)")]
    Expired {
        /// Which certificate.
        index: usize,
        /// Until when it was valid.
        not_after: Timestamp,
    },
    /// The chain leads only to roots that are outside their validity.
    #[error("the root certificate is not valid at this time (RFC 5280 section 4.1.2.5)")]
    RootNotValid,
    /// No path to a root of the leaf's own trust domain.
    #[error("no root of the leaf's trust domain issued the chain (RFC 5280 section 6.1)")]
    UnknownIssuer,
    /// A signature that its issuer's key did not make.
    #[error("a signature in the chain is invalid (RFC 5280 section 6.1.3)")]
    BadSignature,
    /// More intermediates than an issuer allows.
    #[error("the path is longer than an issuer allows (RFC 5280 section 4.2.1.9)")]
    PathTooLong,
    /// A CRL lists a certificate of the path.
    #[error("a certificate of the path is revoked (RFC 5280 section 6.3)")]
    Revoked,
    /// No CRL for an issuer of the path, though CRLs are in use.
    #[error("no CRL covers a certificate of the path (RFC 5280 section 6.3)")]
    UnknownRevocationStatus,
    /// A CRL past its nextUpdate.
    #[error("the CRL for a certificate of the path is expired (RFC 5280 section 5.1.2.5)")]
    CrlExpired,
    /// More CRLs than [`MAX_CRLS`].
    #[error("{count} CRLs were given, more than {MAX_CRLS} (limit of this verifier)")]
    TooManyCrls {
        /// How many were given.
        count: usize,
    },
    /// A CRL that is no DER CRL of version 2 as RFC 5280 profiles it.
    #[error("CRL {index} is malformed (RFC 5280 section 5)")]
    MalformedCrl {
        /// Which of the given CRLs.
        index: usize,
    },
    /// A CRL whose signature or issuer does not hold.
    #[error("the CRL for a certificate of the path is not its issuer's (RFC 5280 section 6.3.3)")]
    BadCrl,
    /// Another rule of path validation.
    #[error("path validation failed: {0} (RFC 5280 section 6.1)")]
    Path(webpki::Error),
}

impl Refusal {
    /// A stable name in snake case, for scripts and metric labels.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyChain => "empty_chain",
            Self::TooManyCertificates { .. } => "too_many_certificates",
            Self::TooManyBytes { .. } => "too_many_bytes",
            Self::Malformed { .. } => "malformed",
            Self::MalformedExtension { .. } => "malformed_extension",
            Self::DuplicateExtension { .. } => "duplicate_extension",
            Self::UnknownCriticalExtension { .. } => "unknown_critical_extension",
            Self::WeakKey { .. } => "weak_key",
            Self::UnsupportedKey { .. } => "unsupported_key",
            Self::UriNameConstraints { .. } => "uri_name_constraints",
            Self::NoUriSan => "no_uri_san",
            Self::ManyUriSans { .. } => "many_uri_sans",
            Self::SpiffeId(error) => error.rule.code(),
            Self::SanNotCritical => "san_not_critical",
            Self::LeafIsCa => "leaf_is_ca",
            Self::NoKeyUsage { .. } => "no_key_usage",
            Self::KeyUsageNotCritical => "key_usage_not_critical",
            Self::NoDigitalSignature => "no_digital_signature",
            Self::LeafMaySignCertificates => "leaf_key_cert_sign",
            Self::LeafMaySignCrls => "leaf_crl_sign",
            Self::EmptyExtendedKeyUsage => "empty_extended_key_usage",
            Self::ExtendedKeyUsage => "extended_key_usage",
            Self::IssuerIsNotCa { .. } => "issuer_is_not_ca",
            Self::IssuerMayNotSign { .. } => "issuer_without_key_cert_sign",
            Self::IssuerPurposes { .. } => "issuer_extended_key_usage",
            Self::IssuerSpiffeId { .. } => "issuer_spiffe_id",
            Self::IssuerOfOtherTrustDomain { .. } => "issuer_of_other_trust_domain",
            Self::UnknownTrustDomain { .. } => "unknown_trust_domain",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Expired { .. } => "expired",
            Self::RootNotValid => "root_not_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadSignature => "bad_signature",
            Self::PathTooLong => "path_too_long",
            Self::Revoked => "revoked",
            Self::UnknownRevocationStatus => "unknown_revocation_status",
            Self::CrlExpired => "crl_expired",
            Self::TooManyCrls { .. } => "too_many_crls",
            Self::MalformedCrl { .. } => "malformed_crl",
            Self::BadCrl => "bad_crl",
            Self::Path(_) => "path",
        }
    }
}
