//! Other logs of its trust domain that a log names.

use serde::Serialize;

/// Most logs that one names: more is a flaw, for they are compared.
pub(crate) const MAX_NAMED: usize = 1_000;

/// That a log has ended, as another one says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seal {
    /// The id of the log that ended, in hexadecimal digits.
    pub log_id: String,
    /// The replica whose log it was.
    pub replica: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of its tree, in hexadecimal digits.
    pub root_hash: String,
    /// The entry that says so.
    pub index: u64,
}

/// That a replica joined, as another one says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Join {
    /// The id of its log, in hexadecimal digits.
    pub log_id: String,
    /// The replica.
    pub replica: String,
    /// The entry that says so.
    pub index: u64,
}
