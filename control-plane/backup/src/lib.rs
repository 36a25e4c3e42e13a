//! A backup: one tar file of database, issuance log and, where wanted, the keys on disk.
//!
//! Its last member is a manifest with the length and SHA-256 of every other one: a file that was
//! cut off has none, and one that was damaged contradicts it. Whoever can read a backup with keys
//! is the certificate authority; whoever can change one decides what is restored.

mod manifest;
mod pack;
mod unpack;

pub use manifest::Manifest;
pub use pack::Pack;
pub use unpack::{UnpackError, begins_as_backup, unpack};

/// The manifest within the file.
const MANIFEST: &str = "manifest.json";
/// What this program writes and reads.
pub const FORMAT: u32 = 1;
/// Longest manifest that is read, in bytes.
const MAX_MANIFEST_BYTES: u64 = 256 * 1024 * 1024;
/// Most files of a backup: a log of 100 million entries has fewer.
const MAX_FILES: usize = 1_000_000;
/// Mode of the file and of everything in it: nobody but the owner.
const FILE_MODE: u32 = 0o600;

#[cfg(test)]
mod tests;
