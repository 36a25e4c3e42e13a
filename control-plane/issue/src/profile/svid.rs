//! The X.509-SVID of a node or workload (X509-SVID.md sections 4 and 5).

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::{KeyKind, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "x509-svid",
    path_length: None,
    key_usages: &[KeyUsagePurpose::DigitalSignature],
    extended_key_usages: &[
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ],
    // Workloads that bring their own key may have to bring RSA.
    keys: &[KeyKind::P256, KeyKind::P384, KeyKind::Rsa],
};
