//! A node of a run: a sidecar's own code on a state directory of this machine.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use countersign_serve::secret_file;
use countersign_sidecar::Config;
use countersign_sidecar::simulated::{self, Held, Machine};
use fastrand::Rng;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tracing::Instrument as _;

use crate::clock::HostClock;
use crate::consumer::{Consumer, Kind, Socket};
use crate::disk::{Loss, copy};
use crate::network::Network;
use crate::operator::{FIRST_UID, uid_of};

/// How long an operator watches a node that has no credential.
const PATIENCE: Duration = Duration::from_secs(15);

/// Identities of a node, at most.
pub(crate) const MOST_IDENTITIES: u8 = 4;
/// Its users, at most: each has one consumer.
const USERS: u32 = 2;

/// A machine with a sidecar.
pub(crate) struct Node {
    /// Its number, from 1 on.
    pub(crate) number: u8,
    /// Which of two machines that pass for one node.
    twin: Option<u8>,
    network: Network,
    /// Of every control plane, as a list of TOML.
    addresses: String,
    running: Option<(Held, JoinHandle<()>)>,
    /// How often the sidecar has been started.
    pub(crate) starts: u32,
    socket: Socket,
    /// Its wall clock.
    pub(crate) clock: HostClock,
    /// What consumes what it holds.
    pub(crate) consumers: Vec<Consumer>,
    /// Since when it has had no good credential of its own.
    helpless_since: Option<Instant>,
}

impl Node {
    pub(crate) fn new(
        number: u8,
        network: Network,
        addresses: String,
        random: &mut Rng,
    ) -> Result<Self> {
        let mut node = Self {
            number,
            twin: None,
            network,
            addresses,
            running: None,
            starts: 0,
            socket: Socket::default(),
            clock: HostClock::default(),
            consumers: Vec::new(),
            helpless_since: None,
        };
        fs::create_dir(node.folder())?;
        node.consumers = (0..random.u32(1..=USERS))
            .map(|user| node.consumer(FIRST_UID + user, random))
            .collect();
        Ok(node)
    }

    /// One of two machines that pass for the same node.
    pub(crate) fn twin(number: u8, twin: u8, network: Network, addresses: String) -> Result<Self> {
        let node = Self {
            number,
            twin: Some(twin),
            network,
            addresses,
            running: None,
            starts: 0,
            socket: Socket::default(),
            clock: HostClock::default(),
            consumers: Vec::new(),
            helpless_since: None,
        };
        fs::create_dir(node.folder())?;
        Ok(node)
    }

    fn consumer(&self, uid: u32, random: &mut Rng) -> Consumer {
        let kind = match random.u8(0..3) {
            0 => Kind::Delta,
            1 => Kind::State,
            _ => Kind::Workload,
        };
        let who = (format!("{}/{uid}", self.name()), uid, kind);
        let ids = (1..=MOST_IDENTITIES).map(|name| self.identity(name));
        let own = ids.filter(|id| uid_of(id) == uid).collect();
        let reached = (self.network.clone(), self.socket.clone());
        Consumer::begin(who, own, reached, random.fork())
    }

    /// The identity of this number that may be registered for it.
    pub(crate) fn identity(&self, number: u8) -> String {
        format!("spiffe://example.org/{}/web-{number}", self.name())
    }

    /// How the trace names it.
    pub(crate) fn name(&self) -> String {
        match self.twin {
            None => format!("node-{}", self.number),
            Some(twin) => format!("twin-{}-{twin}", self.number),
        }
    }

    pub(crate) fn spiffe_id(&self) -> String {
        match self.twin {
            None => format!("spiffe://example.org/node/{}", self.number),
            Some(_) => format!("spiffe://example.org/twin/{}", self.number),
        }
    }

    pub(crate) fn address(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(
            10,
            0,
            1 + self.twin.unwrap_or(0),
            self.number,
        ))
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from(self.name())
    }

    /// Puts there what an operator brings.
    pub(crate) fn provision(&self, bundle: &str, token: &str) -> Result<()> {
        let folder = self.folder();
        fs::write(folder.join("bundle.pem"), bundle)?;
        secret_file::write(&folder.join("token"), token)?;
        let addresses = &self.addresses;
        let file = format!(
            "trust_domain = \"example.org\"\nstate_dir = \"./state\"\n\
             [control_plane]\naddresses = [{addresses}]\nbundle = \"./bundle.pem\"\n\
             [attestation]\nmethod = \"join_token\"\ntoken_file = \"./token\"\n\
             [workload_api]\nsocket = \"./sidecar.sock\"\n"
        );
        Ok(fs::write(folder.join("sidecar.toml"), file)?)
    }

    /// Whether it has had no good credential of its own for long, and nobody looked after it since.
    pub(crate) fn needs_help(&mut self, is_left_behind: bool, now: Timestamp) -> bool {
        let Some(held) = self.held() else {
            self.helpless_since = None;
            return false;
        };
        let own = held
            .rights()
            .into_iter()
            .find(|it| it.spiffe_id.as_str() == self.spiffe_id());
        let credential = own.and_then(|right| right.credential);
        if !is_left_behind && credential.is_some_and(|it| it.lifetime.not_after > now) {
            self.helpless_since = None;
            return false;
        }
        let since = *self.helpless_since.get_or_insert_with(Instant::now);
        let needs = since.elapsed() >= PATIENCE;
        if needs {
            self.helpless_since = None;
        }
        needs
    }

    /// What the sidecar holds, where it runs.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.running.as_ref().map(|(held, _)| held)
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let config = Config::load(&self.folder().join("sidecar.toml"))?;
        let network = self.network.of(self.address());
        let callers = UnboundedReceiverStream::new(self.socket.listen());
        let clock = self.clock.clone();
        let machine = Machine {
            clock: move || clock.now(),
            network,
            callers,
        };
        let begun = simulated::begin(&config, machine);
        let (held, life) = begun.map_err(|failure| anyhow!("{}", failure.message))?;
        let life = life.instrument(tracing::info_span!("sidecar", node = self.number));
        self.running = Some((held, tokio::spawn(life)));
        self.starts += 1;
        Ok(())
    }

    /// Ends the sidecar for good.
    pub(crate) async fn end(&mut self) -> Result<()> {
        self.kill(&mut Loss::Nothing).await
    }

    /// Kills the sidecar, or its machine, and waits until its files are closed.
    pub(crate) async fn kill(&mut self, loss: &mut Loss<'_>) -> Result<()> {
        let Some((_, task)) = self.running.take() else {
            return Ok(());
        };
        task.abort();
        match task.await {
            Err(error) if error.is_cancelled() => {}
            ended => ended.context("the sidecar ended by itself")?,
        }
        if matches!(loss, Loss::Unsynced(_)) {
            self.consumers.iter().for_each(Consumer::lose_power);
        }
        let (state, left) = (self.folder().join("state"), self.folder().join("left"));
        copy(&state, &left, loss)?;
        fs::remove_dir_all(&state)?;
        Ok(fs::rename(&left, &state)?)
    }
}
