//! A root: an intermediate, where there is one, and an issuing CA may follow.

use rcgen::KeyUsagePurpose;

use super::{KeyKind, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "root-ca",
    path_length: Some(2),
    key_usages: &[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
    extended_key_usages: &[],
    keys: &[KeyKind::P256],
};
