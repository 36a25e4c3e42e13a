//! The SPIFFE verifier: what makes a certificate chain an X.509-SVID that we accept.
//!
//! [`verify_svid`] is pure: chain, trust bundles and `now` in, a [`VerifiedSvid`] or the one
//! [`Refusal`] out. [`tls`] is its rustls adapter, and the only place of both daemons where a TLS
//! configuration is made: TLS 1.3, X25519MLKEM768 first, no resumption of any kind.

pub mod bundle;
mod certificate;
mod path;
pub mod pem;
#[cfg(test)]
mod pki;
pub mod proof;
pub mod refusal;
pub mod request;
pub mod svid;
pub mod tls;

pub use bundle::{BundleError, BundleSet, TrustBundle, certificate_pem};
pub use refusal::Refusal;
pub use svid::{VerifiedSvid, verify_svid};
