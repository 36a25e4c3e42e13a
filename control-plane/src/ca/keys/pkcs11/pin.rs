//! The PIN: read from its file each time the token is opened, and kept nowhere.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::fault::Fault;

/// Longest PIN that is read.
const MAX_PIN_BYTES: usize = 256;
/// Whoever is not the owner may do nothing with the file.
const OTHERS: u32 = 0o077;

/// Reads the PIN; a line feed at its end is not part of it.
pub(super) fn read(file: &Path) -> Result<Zeroizing<String>, Fault> {
    let failed = |problem: &str| Fault::Device(format!("pin_file {}: {problem}", file.display()));
    let opened = File::open(file).map_err(|error| failed(&error.to_string()))?;
    let metadata = opened.metadata();
    let mode = metadata.map_err(|error| failed(&error.to_string()))?;
    if mode.permissions().mode() & OTHERS != 0 {
        return Err(failed("is open to others: chmod 600 it"));
    }
    let mut pin = Zeroizing::new(String::with_capacity(MAX_PIN_BYTES + 1));
    let read = opened
        .take(MAX_PIN_BYTES as u64 + 1)
        .read_to_string(&mut pin);
    let length = read.map_err(|_| failed("is not a text"))?;
    if length > MAX_PIN_BYTES {
        return Err(failed("is longer than 256 bytes"));
    }
    let length = pin.trim_end_matches(['\r', '\n']).len();
    pin.truncate(length);
    if pin.is_empty() {
        return Err(failed("is empty"));
    }
    Ok(pin)
}
