//! A disk for the `data_dir` of a host's daemon, which is small enough to be filled.

use std::fs::File;
use std::io::{ErrorKind, Write as _};

use super::*;

/// Enough for what a story writes.
const SIZE: &str = "size=32m,mode=0700";
/// What a test fills the disk with.
const FILLING: &str = "filling";

impl Host {
    /// Mounts the disk, where it has one.
    pub(crate) fn mount_disk(&self, data_dir: &Path) -> Result<()> {
        if !self.equipment.small_disk {
            return Ok(());
        }
        std::fs::create_dir_all(data_dir)?;
        let there = format!("--mount={}", namespace(&self.holder, "mnt").display());
        let mut mount = Blocking::new("nsenter");
        mount.args([&there, "mount", "-t", "tmpfs", "-o", SIZE, "tmpfs"]);
        succeed(mount.arg(data_dir))
    }

    /// Fills the disk to its last block.
    ///
    /// # Errors
    /// It is none of its own, or takes everything.
    pub fn fill_disk(&self, data_dir: &Path) -> Result<()> {
        ensure!(self.equipment.small_disk, "it has no disk of its own");
        let mut file = File::create(self.file(data_dir).join(FILLING))?;
        let block = [0; 4_096];
        let refused = loop {
            if let Err(refused) = file.write_all(&block) {
                break refused;
            }
        };
        ensure!(refused.kind() == ErrorKind::StorageFull, "{refused}");
        Ok(())
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// It was not filled.
    pub fn free_disk(&self, data_dir: &Path) -> Result<()> {
        Ok(std::fs::remove_file(self.file(data_dir).join(FILLING))?)
    }
}
