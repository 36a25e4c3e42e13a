//! What a backup says of itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The last member of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this shape and of the members.
    pub format: u32,
    /// Whose state it is.
    pub trust_domain: String,
    /// The epoch that it was made in.
    pub epoch: u64,
    /// Which log is in it.
    pub log_id: u32,
    /// How many entries of it were durable.
    pub log_size: u64,
    /// When it was made.
    pub made_at: Timestamp,
    /// Whether the keys on disk are in it.
    pub with_keys: bool,
    /// Every other member, by path.
    pub files: BTreeMap<String, Sum>,
}

/// The content of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sum {
    /// Its length in bytes.
    pub length: u64,
    /// Lower-case hex.
    pub sha256: String,
}
