//! The control plane of a run: the daemon's own code on a folder of this machine, with TLS, its
//! database and its log. It can be killed at any moment; what goes on then goes on with a copy of what
//! was on the disk.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use countersign_control_plane::app::{self, Running};
use countersign_control_plane::clock::Clock;
use countersign_control_plane::config::Config;
use countersign_control_plane::entropy::OsEntropy;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::network::{End, Local, Network};

/// Where sidecars reach it.
pub(crate) const ADDRESS: &str = "10.0.0.1:8443";

/// The control plane.
pub(crate) struct ControlPlane {
    network: Network,
    /// How often it has been started.
    starts: u32,
    running: Option<(Running, mpsc::UnboundedSender<Local>)>,
}

impl ControlPlane {
    pub(crate) fn new(network: Network) -> Self {
        Self {
            network,
            starts: 0,
            running: None,
        }
    }

    pub(crate) fn address() -> SocketAddr {
        ADDRESS.parse().expect("an address")
    }

    /// The data directory of the newest start.
    pub(crate) fn folder(&self) -> PathBuf {
        PathBuf::from(format!("cp-{}", self.starts))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it on what its predecessor left on the disk.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let before = self.folder();
        self.starts += 1;
        let folder = self.folder();
        if before.exists() {
            copy(&before, &folder).context("copy the disk")?;
        }
        let file = folder.with_extension("toml");
        fs::write(&file, configuration(&folder))?;
        let config = Config::read(&file)?;
        let (operators, admin) = mpsc::unbounded_channel();
        let admin = UnboundedReceiverStream::new(admin).map(Ok::<_, io::Error>);
        let api = self.network.listen(Self::address());
        let given = (Clock::wall(), Arc::new(OsEntropy) as Arc<_>);
        let running = app::start_on(&config, given, api, admin).await?;
        self.running = Some((running, operators));
        Ok(())
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some((running, _)) = self.running.take() {
            running.abandon();
            self.network.stop_listening(Self::address());
        }
    }

    /// A connection to its admin socket.
    pub(crate) fn connect(&self) -> Option<End> {
        let (_, operators) = self.running.as_ref()?;
        let (ours, theirs) = Local::pair(&self.network);
        operators.send(theirs).ok()?;
        Some(ours)
    }
}

fn configuration(folder: &Path) -> String {
    format!(
        "trust_domain = \"example.org\"\ndata_dir = \"./{}\"\n\
         [api]\nlisten = \"{ADDRESS}\"\n[telemetry]\nlisten = \"127.0.0.1:9464\"\n\
         [svid]\nx509_ttl = \"10m\"\n[ca]\nissuing_ttl = \"1h\"\nroot_ttl = \"30d\"\n",
        folder.display()
    )
}

/// What a disk holds when the power goes: the files as they are. What SQLite keeps in memory that is
/// shared is not of the disk.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy(&path, &target)?;
        } else if !name.to_string_lossy().ends_with("-shm") {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
