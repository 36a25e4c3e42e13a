//! A control plane of a run: the daemon's own code on a folder of this machine, with TLS, its database and
//! its log. It can be killed at any moment; what goes on then goes on with a copy of what was on the disk.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use countersign_control_plane::app::{self, Running};
use countersign_control_plane::clock::Clock;
use countersign_control_plane::config::Config;
use countersign_control_plane::entropy::OsEntropy;
use countersign_serve::secret_file;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::clock::HostClock;
use crate::database::{Database, Link, State};
use crate::disk::{Loss, copy};
use crate::network::{End, Local, Network};

/// Where sidecars reach any.
const PORT: u16 = 8443;
/// Whoever reaches its database again has heard of everything within this time.
const CATCHES_UP: Duration = Duration::from_secs(5);
/// The database that is named in the configuration; another one is in its place.
const URL: &str = "postgresql://countersign@%2Frun%2Fpostgresql/countersign";

/// A control plane.
pub(crate) struct ControlPlane {
    /// Its name among those that share a database.
    pub(crate) name: String,
    /// Its machine, from 1 on.
    pub(crate) machine: u8,
    /// Whether it is out for good.
    pub(crate) is_out: bool,
    /// Whether sidecars do not reach it.
    pub(crate) is_cut_off: bool,
    network: Network,
    /// The wall clock of its machine.
    pub(crate) clock: HostClock,
    /// Whether its state is in the database that is shared.
    is_shared: bool,
    /// How it is on its way to that.
    state: State,
    /// Since when that is so; since a start everything is known.
    since: Option<Instant>,
    started: Option<Instant>,
    /// How often it has been killed.
    kills: u32,
    running: Option<Process>,
}

/// The process that runs.
struct Process {
    running: Running,
    operators: mpsc::UnboundedSender<Local>,
    link: Option<Link>,
}

impl ControlPlane {
    pub(crate) fn new(name: &str, machine: u8, is_shared: bool, network: Network) -> Self {
        Self {
            name: name.to_owned(),
            machine,
            is_out: false,
            is_cut_off: false,
            network,
            clock: HostClock::default(),
            is_shared,
            state: State::default(),
            since: None,
            started: None,
            kills: 0,
            running: None,
        }
    }

    /// Where the sidecars reach the one of a machine.
    pub(crate) fn address_of(machine: u8) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, machine)), PORT)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        Self::address_of(self.machine)
    }

    /// The data directory since the newest kill.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder_of(self.kills)
    }

    fn folder_of(&self, kill: u32) -> PathBuf {
        PathBuf::from(format!("cp-{}-{kill}", self.name))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the key of a CA is on its disk.
    pub(crate) fn has_key(&self, key_id: &str) -> bool {
        self.folder()
            .join("keys")
            .join(format!("{key_id}.pem"))
            .exists()
    }

    /// From now on the way to its database is so.
    pub(crate) fn reaches(&mut self, state: State) {
        self.state = state;
        self.since = Some(Instant::now());
        let running = self.running.iter();
        let links = running.filter_map(|process| process.link.as_ref());
        links.for_each(|link| link.becomes(state));
    }

    /// Whether anything is on the way to its database.
    pub(crate) fn is_impeded(&self) -> bool {
        self.state.is_impeding()
    }

    /// Whether it has heard of all that is in the database, but for the newest.
    pub(crate) fn is_up_to_date(&self) -> bool {
        let is_member = !self.is_impeded() && !self.is_out;
        is_member && self.since.is_none_or(|since| since.elapsed() >= CATCHES_UP)
    }

    /// Whether it reached its database all this time, and hears of each commit at once.
    pub(crate) fn hears_at_once_for(&self, time: Duration) -> bool {
        let since = self.since.or(self.started);
        self.state == State::default() && since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Brings the file with which it joins the others.
    pub(crate) fn invited(&self, invitation: &str) -> Result<()> {
        Ok(secret_file::write(&self.invitation(), invitation)?)
    }

    fn invitation(&self) -> PathBuf {
        PathBuf::from(format!("{}.invitation", self.name))
    }

    /// Starts it on what its predecessor left on the disk.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start(&mut self, database: Option<&mut Database>) -> Result<()> {
        let config = self.configured()?;
        let (operators, admin) = mpsc::unbounded_channel();
        let admin = UnboundedReceiverStream::new(admin).map(Ok::<_, io::Error>);
        let state = self.state;
        let reached = database.map(|database| {
            let link = database.link();
            link.becomes(state);
            (database.reached(&link), link)
        });
        let (database, link) = reached.unzip();
        let api = self.network.listen(self.address());
        let clock = self.clock.clone();
        let clock = Clock::from_fn(move || clock.now());
        let given = (clock, Arc::new(OsEntropy) as Arc<_>);
        let running = app::start_on(&config, given, database, api, admin).await?;
        self.running = Some(Process {
            running,
            operators,
            link,
        });
        self.since = None;
        self.started = Some(Instant::now());
        Ok(())
    }

    fn configured(&self) -> Result<Config> {
        let folder = self.folder();
        let file = folder.with_extension("toml");
        fs::write(&file, self.configuration(&folder))?;
        let mut config = Config::read(&file)?;
        let invitation = self.invitation();
        if invitation.exists() {
            let joined = config.join(&invitation);
            joined.map_err(|failure| anyhow!("{}", failure.message))?;
        }
        Ok(config)
    }

    /// Kills it, or its machine. What its successor finds is what is on the disk at this moment, or, with
    /// a defect, what was there at the kill before: what goes on for a moment goes on beside it.
    pub(crate) fn kill(&mut self, loss: &mut Loss<'_>, rolled_back: bool) -> Result<()> {
        let Some(Process { running, link, .. }) = self.running.take() else {
            return Ok(());
        };
        link.iter().for_each(Link::end);
        let before = match rolled_back {
            true => self.folder_of(self.kills.saturating_sub(1)),
            false => self.folder(),
        };
        self.kills += 1;
        copy(&before, &self.folder(), loss).context("copy the disk")?;
        running.abandon();
        self.network.stop_listening(self.address());
        Ok(())
    }

    /// It is gone.
    pub(crate) fn lose(&mut self) {
        if let Some(Process { running, link, .. }) = self.running.take() {
            link.iter().for_each(Link::end);
            running.abandon();
            self.network.stop_listening(self.address());
        }
    }

    /// A connection to its admin socket.
    pub(crate) fn connect(&self) -> Option<End> {
        let process = self.running.as_ref()?;
        let (ours, theirs) = Local::pair(&self.network);
        process.operators.send(theirs).ok()?;
        Some(ours)
    }

    fn configuration(&self, folder: &Path) -> String {
        let shared = match self.is_shared {
            true => format!(
                "[store]\nurl = \"{URL}\"\n[replica]\nname = \"{}\"\n",
                self.name
            ),
            false => String::new(),
        };
        format!(
            "trust_domain = \"example.org\"\ndata_dir = \"./{}\"\n\
             [api]\nlisten = \"{}\"\n[telemetry]\nlisten = \"127.0.0.1:9464\"\n\
             [svid]\nx509_ttl = \"4m\"\n[ca]\nissuing_ttl = \"30m\"\nroot_ttl = \"30d\"\n{shared}",
            folder.display(),
            self.address(),
        )
    }
}
