//! The control plane's own X.509-SVID: what sidecars recognise it by.

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::{KeyKind, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "server",
    path_length: None,
    key_usages: &[KeyUsagePurpose::DigitalSignature],
    extended_key_usages: &[
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ],
    keys: &[KeyKind::P256],
};
