//! What a backup says of itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The last member of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Version of this shape and of the members.
    pub(crate) format: u32,
    /// Whose state it is.
    pub(crate) trust_domain: String,
    /// The epoch that it was made in.
    pub(crate) epoch: u64,
    /// Which log is in it.
    pub(crate) log_id: u32,
    /// How many entries of it were durable.
    pub(crate) log_size: u64,
    /// When it was made.
    pub(crate) made_at: Timestamp,
    /// Whether the keys on disk are in it.
    pub(crate) with_keys: bool,
    /// Every other member, by path.
    pub(crate) files: BTreeMap<String, Sum>,
}

/// The content of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sum {
    /// Its length in bytes.
    pub(crate) length: u64,
    /// Lower-case hex.
    pub(crate) sha256: String,
}
