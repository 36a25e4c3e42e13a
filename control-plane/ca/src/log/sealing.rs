//! The log of a replica that is gone with its disk, sealed by one that is left.

use std::path::{Path, PathBuf};

use countersign_model::TrustDomain;
use countersign_proto::log::Sealed;
use countersign_proto::log::entry::What;
use countersign_tlog::{self as tlog, Archive, LogError};

use super::options;

/// Folder of the logs that were sealed, within the data directory.
pub const SEALED: &str = "sealed";

/// Where a log is once it is sealed: tiles, bundles and checkpoint, for auditors and proofs
/// ([`tlog::inclusion`]).
pub fn sealed_folder(data_dir: &Path, id: u32) -> PathBuf {
    data_dir.join(SEALED).join(format!("{id:06x}"))
}

/// Makes a log again from its archive, under its own name and the key of this control plane, and says
/// what its own log must say of it ([`sealed`]). It goes on where it was cut short; `goes_on` hears of each
/// part how far it is, and may end it (`None`). Blocks on the disk and the archive, which must take nothing
/// more for that log.
///
/// # Errors
/// The disk or the archive; the folder holds other entries.
pub fn seal(
    id: u32,
    trust_domain: &TrustDomain,
    data_dir: &Path,
    archive: &mut dyn Archive,
    goes_on: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<tlog::Sealed>, LogError> {
    let options = tlog::Options {
        dir: sealed_folder(data_dir, id),
        ..options(id, trust_domain, data_dir)
    };
    tlog::seal(&options, archive, goes_on)
}

/// The entry that announces a seal.
pub fn sealed(id: u32, replica: &str, sealed: &tlog::Sealed) -> What {
    What::Sealed(Sealed {
        log_id: id,
        size: sealed.size,
        root_hash: sealed.root.to_vec(),
        replica: replica.to_owned(),
    })
}
