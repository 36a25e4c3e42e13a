//! The control plane that is measured: the real binary, in a folder of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use countersign_serve::secret_file;
use tempfile::TempDir;

use super::TRUST_DOMAIN;
use super::admin::Admin;
use crate::log::address_of;
use crate::programs::Program;

/// A control plane answers on its socket in this time.
const START_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// Files of its folder.
const CONFIGURATION: &str = "control-plane.toml";
const INVITATION: &str = "invitation";

/// One node asks here for more than a node may in the long run, so the rates are set out of reach;
/// every other limit is as it is by default.
const CONFIG: &str = r#"
trust_domain = "TRUST_DOMAIN"
data_dir = "data"
[api]
listen = "127.0.0.1:0"
[telemetry]
listen = "127.0.0.1:0"
[admin]
socket = "data/admin.sock"
[admission]
rate_per_caller = 1_000_000
burst_per_caller = 1_000_000
"#;

/// What sets one control plane apart from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The cores that it runs on, a list as `taskset -c` takes it; all where nothing is said.
    pub cores: Option<String>,
    /// Tables of its configuration beside the usual ones.
    pub tables: String,
    /// With what it joins those that share its database.
    pub invitation: Option<String>,
}

/// A running control plane. Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Plane {
    child: Child,
    folder: TempDir,
    /// Where sidecars connect.
    pub address: SocketAddr,
    /// The operator's API.
    pub admin: Admin,
}

impl Plane {
    /// Starts one, on these cores (a list as `taskset -c` takes it) or on all.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(cores: Option<&str>) -> Result<Self> {
        let cores = cores.map(str::to_owned);
        Self::with(&Settings {
            cores,
            ..Settings::default()
        })
        .await
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// It does not start.
    pub async fn with(settings: &Settings) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = CONFIG.replace("TRUST_DOMAIN", TRUST_DOMAIN) + &settings.tables;
        fs::write(folder.path().join(CONFIGURATION), config)?;
        if let Some(invitation) = &settings.invitation {
            secret_file::write(&folder.path().join(INVITATION), invitation)?;
        }
        let child = spawn(folder.path(), settings)?;
        let socket = folder.path().join("data/admin.sock");
        let admin = Admin::connect(&socket, START_DEADLINE).await?;
        let address = admin.api_address().await?;
        Ok(Self {
            child,
            folder,
            address,
            admin,
        })
    }

    /// Ends it as a machine that loses its power does.
    ///
    /// # Errors
    /// It has ended already.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder of its configuration and state.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its log lines go.
    pub fn log(&self) -> PathBuf {
        log_in(self.folder.path())
    }

    /// Where it answers probes.
    ///
    /// # Errors
    /// It does not say so in time.
    pub async fn telemetry(&self) -> Result<SocketAddr> {
        let log = self.log();
        until(START_DEADLINE, async || address_of(&log, "telemetry")).await
    }

    /// What its state takes on disk, in bytes.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn disk(&self) -> Result<u64> {
        bytes_below(&self.folder.path().join("data"))
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, settings: &Settings) -> Result<Child> {
    let binary = Program::ControlPlane.path()?;
    let mut command = match &settings.cores {
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.args(["-c", cores]).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    command.args(["run", "--config"]);
    command.arg(folder.join(CONFIGURATION));
    if settings.invitation.is_some() {
        command.arg("--join").arg(folder.join(INVITATION));
    }
    let log = File::create(log_in(folder))?;
    let child = command.stdin(Stdio::null()).stderr(log).spawn();
    child.context("the control plane does not start")
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("stderr")
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            bytes_below(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}

/// Tries until something succeeds, within a deadline.
///
/// # Errors
/// The last one, when time is up.
pub async fn until<T>(
    deadline: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if begun.elapsed() > deadline => bail!("not in time: {error:#}"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
