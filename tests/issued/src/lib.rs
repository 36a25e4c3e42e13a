//! Keeps what a control plane of a test issued, for the judge at the end of `make test`.
//!
//! Before a harness lets its data directory go it calls [`keep`], which reads the issuance log there
//! and leaves every certificate as a DER file: at most [`MAX_OF_A_SHAPE`] that look alike of one data
//! directory. Private keys are in other folders than the log, and nothing else is read. Outside of
//! `make test` nothing is kept.

mod log;
mod shape;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use log::Certificate;

/// The environment variable that names the folder; nothing is kept without it.
pub const FOLDER: &str = "COUNTERSIGN_ISSUED";
/// Most certificates of one shape that are kept of one data directory: a test that issues a
/// thousand alike leaves eight.
pub const MAX_OF_A_SHAPE: usize = 8;
/// Last bytes of a certificate that its name shows.
const TELLING_BYTES: usize = 4;
/// What threads without a name are called.
const NAMELESS: &str = "nameless";

/// Keeps the certificates of a data directory in a folder named after the test that runs. Its
/// control plane may still be there.
///
/// # Panics
/// They cannot be read or written; but not while a test that failed unwinds.
pub fn keep(data_dir: &Path) {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    if std::thread::panicking() {
        return;
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or(NAMELESS).replace("::", ".");
    let kept = keep_in(&Path::new(&folder).join(test), data_dir);
    kept.expect("the log can be read, and the folder of issued certificates written");
}

/// Keeps them in that folder and says how many.
fn keep_in(folder: &Path, data_dir: &Path) -> io::Result<usize> {
    let mut shapes: BTreeMap<String, usize> = BTreeMap::new();
    let certificates = log::certificates(&data_dir.join("log"))?;
    let kept: Vec<_> = certificates
        .into_iter()
        .filter(|certificate| {
            let alike = shapes.entry(shape::of(certificate)).or_default();
            *alike += 1;
            *alike <= MAX_OF_A_SHAPE
        })
        .collect();
    if !kept.is_empty() {
        std::fs::create_dir_all(folder)?;
    }
    for certificate in &kept {
        std::fs::write(folder.join(name(certificate)), &certificate.der)?;
    }
    Ok(kept.len())
}

/// Profile and index; then the end of the signature, which two logs of one test do not share.
fn name(certificate: &Certificate) -> String {
    let Certificate {
        profile,
        index,
        der,
    } = certificate;
    let end = der.last_chunk::<TELLING_BYTES>();
    let end = end.expect("what was assembled has the length of a signature");
    format!("{profile}-{index}.{}.der", hex::encode(end))
}

#[cfg(test)]
mod tests;
