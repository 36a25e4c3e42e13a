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

use crate::disk::{Loss, copy};
use crate::network::{End, Local, Network};

/// Where sidecars reach it.
pub(crate) const ADDRESS: &str = "10.0.0.1:8443";

/// The control plane.
pub(crate) struct ControlPlane {
    network: Network,
    /// How often it has been killed.
    kills: u32,
    running: Option<(Running, mpsc::UnboundedSender<Local>)>,
}

impl ControlPlane {
    pub(crate) fn new(network: Network) -> Self {
        Self {
            network,
            kills: 0,
            running: None,
        }
    }

    pub(crate) fn address() -> SocketAddr {
        ADDRESS.parse().expect("an address")
    }

    /// The data directory since the newest kill.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder_of(self.kills)
    }

    fn folder_of(&self, kill: u32) -> PathBuf {
        PathBuf::from(format!("cp-{kill}"))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it on what its predecessor left on the disk.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let folder = self.folder();
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

    /// Kills it, or its machine. What its successor finds is what is on the disk at this moment, or, with
    /// a defect, what was there at the kill before: what goes on for a moment goes on beside it.
    pub(crate) fn kill(&mut self, loss: &mut Loss<'_>, rolled_back: bool) -> Result<()> {
        let Some((running, _)) = self.running.take() else {
            return Ok(());
        };
        let before = match rolled_back {
            true => self.folder_of(self.kills.saturating_sub(1)),
            false => self.folder(),
        };
        self.kills += 1;
        copy(&before, &self.folder(), loss).context("copy the disk")?;
        running.abandon();
        self.network.stop_listening(Self::address());
        Ok(())
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
