//! The daemons that are measured: built as they are released, or named by the environment.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One of our daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The control plane.
    ControlPlane,
    /// The sidecar.
    Sidecar,
}

impl Program {
    /// Its package, and the name of its executable.
    fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "countersign-control-plane",
            Self::Sidecar => "countersign-sidecar",
        }
    }

    /// Names another build of it, to measure a change.
    fn variable(self) -> &'static str {
        match self {
            Self::ControlPlane => "COUNTERSIGN_CONTROL_PLANE",
            Self::Sidecar => "COUNTERSIGN_SIDECAR",
        }
    }

    /// Builds it as it is released, with the names of its functions; another one that the
    /// environment names is taken as it is.
    ///
    /// # Errors
    /// It does not build.
    pub fn build(self) -> Result<()> {
        if env::var_os(self.variable()).is_some() {
            return Ok(());
        }
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--profile", "bench"])
            .args(["--package", self.name(), "--bin", self.name()])
            .status()?;
        ensure!(built.success(), "{} does not build", self.name());
        Ok(())
    }

    /// Where it is: beside the folder of this benchmark's own executable.
    ///
    /// # Errors
    /// It was not built.
    pub fn path(self) -> Result<PathBuf> {
        if let Some(other) = env::var_os(self.variable()) {
            return Ok(other.into());
        }
        let own = env::current_exe()?;
        let profile = own.parent().and_then(|folder| folder.parent());
        let path = profile.context("no folder")?.join(self.name());
        ensure!(path.exists(), "{} is missing", path.display());
        Ok(path)
    }
}
