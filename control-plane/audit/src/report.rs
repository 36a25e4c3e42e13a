//! What one log is.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::census::GoesOn;
use crate::named::{Join, Seal};

/// One log.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its folder.
    pub log: String,
    /// Its name, as its checkpoint has it.
    pub origin: String,
    /// Its id, in hexadecimal digits, where its entries tell it.
    pub log_id: Option<String>,
    /// How many entries it has.
    pub size: u64,
    /// The root of its tree, in hexadecimal digits.
    pub root_hash: String,
    /// Entries below have no bodies any more: of them, tiles alone were checked.
    pub first_retained: u64,
    /// Logs that it goes on from after a restore, oldest first; none that its retained entries do
    /// not tell of.
    pub goes_on_from: Vec<GoesOn>,
    /// Logs of other replicas that it says have ended.
    pub seals: Vec<Seal>,
    /// Replicas that it says have joined.
    pub joined: Vec<Join>,
    /// Checkpoints that were judged: the newest one, those it keeps, those that were given.
    pub checkpoints: usize,
    /// Retained entries of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Bytes that were read.
    pub bytes: u64,
    /// Whether the key was given, so that the signature says who wrote this.
    pub authentic: bool,
}
