//! The clock of a host: libfaketime, in each program that is started there, reads from a file how far it
//! is ahead. Timers go on as they are: it is the wall clock that is set, as an operator or `ntpd` does it.

use super::*;

/// Debian's package `libfaketime` puts it below a folder that is called after the machine.
const FOLDER: &str = "/usr/lib";
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
const AHEAD: &str = "ahead";

impl Host {
    /// Sets its clock so many seconds ahead of ours, or back where they are negative. A daemon reads it within
    /// a second.
    ///
    /// # Errors
    /// It has no clock of its own.
    pub fn set_clock(&self, seconds_ahead: i64) -> Result<()> {
        ensure!(self.equipment.own_clock, "it has no clock of its own");
        library()?;
        let (new, file) = (self.folder.path().join("new"), self.ahead());
        std::fs::write(&new, format!("{seconds_ahead:+}\n"))?;
        // Nobody reads a half of it.
        Ok(std::fs::rename(new, file)?)
    }

    /// What tells a program of this host its clock.
    pub(super) fn environment(&self) -> Vec<String> {
        let Some(library) = library().ok().filter(|_| self.equipment.own_clock) else {
            return Vec::new();
        };
        vec![
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.ahead().display()),
            "FAKETIME_CACHE_DURATION=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ]
    }

    fn ahead(&self) -> PathBuf {
        self.folder.path().join(AHEAD)
    }
}

fn library() -> Result<PathBuf> {
    let folders = std::fs::read_dir(FOLDER)?.flatten();
    let mut found = folders.map(|folder| folder.path().join(LIBRARY));
    let found = found.find(|library| library.exists());
    found.context("libfaketime is missing: run `tests/setup.sh .venv`, or `make test`")
}
