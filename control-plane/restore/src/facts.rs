//! Facts of the whole state that tell it apart from every other: names in the store, and what they
//! hold.

use countersign_model::Serial;
use countersign_model::entropy::{Entropy, NoEntropy};
use serde::{Deserialize, Serialize};

/// The trust domain: fixed at the first start.
pub const TRUST_DOMAIN: &str = "trust_domain";
/// The epoch: a number that only a restore raises.
pub const EPOCH: &str = "epoch";
/// The id of the issuance log, and so that of the serials in it.
pub const LOG_ID: &str = "log_id";
/// A [`Predecessor`]: there since a restore.
pub const PREDECESSOR: &str = "predecessor";
/// What told that the state was put back; a restore forgets it.
pub const DOUBTS: &str = "doubts";

/// The log that a backup was made of. It may have gone on after the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// Its id, and so that of the serials in it.
    pub log_id: u32,
    /// How many of its entries the backup holds.
    pub size: u64,
}

/// An id that no other log has, as far as chance goes.
///
/// # Errors
/// There are no random bytes.
pub fn random_log_id(entropy: &dyn Entropy) -> Result<u32, NoEntropy> {
    let mut random = [0; 4];
    entropy.fill(&mut random)?;
    Ok(Serial::log_id_from(u32::from_be_bytes(random)))
}
