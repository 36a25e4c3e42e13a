//! A CA between a root, which may be offline or foreign, and the issuing CAs.

use rcgen::KeyUsagePurpose;

use super::{KeyKind, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "intermediate-ca",
    path_length: Some(1),
    key_usages: &[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
    extended_key_usages: &[],
    keys: &[KeyKind::P256],
};
