//! A copy of a server's data, and a server that goes back to it.

use std::process::Command;

use super::*;

/// The data of a server as they were.
#[derive(Debug)]
pub struct Backup {
    folder: PathBuf,
}

impl Cluster {
    /// Copies its data, while it runs.
    ///
    /// # Panics
    /// It does not give them.
    #[must_use]
    pub fn back_up(&self) -> Backup {
        let folder = folder::make();
        let server = self.superuser_over_tcp(SUPERUSER).to_string();
        template::succeed(&mut copy(&server, &folder.join(DATA)), "");
        Backup { folder }
    }

    /// Starts it with the data of a backup, whether it runs or not: what it acknowledged since is lost.
    ///
    /// # Panics
    /// It does not start.
    pub fn restore(&self, backup: &Backup) {
        self.kill();
        let data = self.data();
        // The folder itself may be a disk.
        let mut remove = INSTALLED.command(Path::new("find"), &data);
        template::succeed(remove.args([".", "-mindepth", "1", "-delete"]), "");
        template::copy(&backup.folder.join(DATA), &data);
        self.start_again();
    }
}

/// What copies the data of a server into a folder.
pub(super) fn copy(server: &str, data: &Path) -> Command {
    let folder = data.parent().expect("it lies in a folder of its own");
    let mut copy = INSTALLED.command(&INSTALLED.program("pg_basebackup"), folder);
    copy.arg("--pgdata").arg(data);
    copy.args(["--checkpoint=fast", "--no-sync", "--dbname", server]);
    copy
}
