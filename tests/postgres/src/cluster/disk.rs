//! A disk for one server, which is small enough to be filled.

use std::io::{ErrorKind, Write as _};
use std::process::Command;

use super::*;

/// A new cluster, 40 MiB of data, and half of that again.
const SIZE: &str = "size=64m,mode=0700";
/// What a test fills the disk with.
const FILLING: &str = "filling";

/// Makes a disk of memory at a folder, which only root may.
pub(super) fn mount(folder: &Path) {
    let mut mount = Command::new("mount");
    template::succeed(
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder),
        "",
    );
    INSTALLED.give(folder);
}

impl Cluster {
    /// Fills its [small disk](Setup::small_disk) to the last block.
    ///
    /// A write that needs a block is refused from now on, as one is that adds a page to a table. One that
    /// needs none succeeds, until the write-ahead log needs its next file: then PostgreSQL stops itself.
    ///
    /// # Panics
    /// It has no such disk.
    pub fn fill_disk(&self) {
        assert!(self.setup.small_disk, "it has no disk of its own");
        let mut file = File::create(self.filling()).unwrap();
        let block = [0; 4096];
        let refused = loop {
            if let Err(refused) = file.write_all(&block) {
                break refused;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    }

    /// Gives the space back.
    ///
    /// # Panics
    /// It was not filled.
    pub fn free_disk(&self) {
        std::fs::remove_file(self.filling()).unwrap();
    }

    fn filling(&self) -> PathBuf {
        self.data().join(FILLING)
    }
}
