//! The PIN: read from its file each time the token is opened, and kept nowhere.

use std::path::Path;

use countersign_serve::secret_file::{self, SecretFileError};
use zeroize::Zeroizing;

use super::fault::Fault;

/// Longest PIN that is read.
const MAX_PIN_BYTES: usize = 256;

/// Reads the PIN; a line feed at its end is not part of it.
pub(super) fn read(file: &Path) -> Result<Zeroizing<String>, Fault> {
    let failed =
        |problem: SecretFileError| Fault::Device(format!("pin_file {}: {problem}", file.display()));
    let mut pin = secret_file::read(file, MAX_PIN_BYTES).map_err(failed)?;
    let length = pin.trim_end_matches(['\r', '\n']).len();
    pin.truncate(length);
    if pin.is_empty() {
        return Err(failed(SecretFileError::Empty));
    }
    Ok(pin)
}
