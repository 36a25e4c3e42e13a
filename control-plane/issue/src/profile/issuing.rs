//! An issuing CA: signs leaves, and no CA below it.

use rcgen::KeyUsagePurpose;

use super::{KeyKind, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "issuing-ca",
    path_length: Some(0),
    key_usages: &[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
    extended_key_usages: &[],
    keys: &[KeyKind::P256],
};
