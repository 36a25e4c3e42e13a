//! What consumes on a node: an Envoy or a workload, over a connection in memory to the sidecar's own
//! services. It holds what it was given, disconnects and comes back, is slow to acknowledge, and refuses
//! sometimes. What happens to it is noted in order, for the model to judge.

mod envoy;
mod reading;
mod workload;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_model::Serial;
use countersign_serve::unix::UnixPeer;
use countersign_verify::TrustBundle;
use fastrand::Rng;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::network::{End, Local, Network};

/// How long a consumer takes for an answer, at most.
pub(crate) const SLOWEST: Duration = Duration::from_secs(2);
/// How long it stays connected, at most.
const LONGEST_STAY: f64 = 240.0;
/// How long it stays away: as a rule, and sometimes.
const LONGEST_PAUSE: f64 = 2.0;
const LONGEST_ABSENCE: f64 = 90.0;

/// What a consumer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SDS, where each message says what changed.
    Delta,
    /// SDS, where each message says everything. What is absent is not removed.
    State,
    /// The Workload API, which knows no acknowledgement.
    Workload,
}

/// A credential that a consumer has.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    /// Leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) serial: Serial,
    /// When it was made, in whole seconds.
    pub(crate) issued_at: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// What happened to a consumer.
#[derive(Debug)]
pub(crate) enum Event {
    /// It is connected.
    Connected,
    /// It was given a credential for an identity, and took it.
    Took(String, Taken),
    /// An identity was taken from it.
    Lost(String),
    /// It took a bundle.
    Trusts(Arc<TrustBundle>),
    /// It was given what nobody can use.
    Unusable(String),
    /// It refused what it was given.
    Refused,
    /// It is not connected any more.
    Disconnected,
    /// Its machine lost its power, and it begins anew.
    Forgot,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Took(id, taken) => write!(f, "has {id}, {}", taken.serial),
            Self::Lost(id) => write!(f, "has {id} no more"),
            Self::Trusts(bundle) => {
                let version = &bundle.version()[..8];
                write!(f, "trusts {} roots, {version}", bundle.roots().len())
            }
            Self::Unusable(why) => write!(f, "cannot use {why}"),
            Self::Refused => f.write_str("refuses"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::Forgot => f.write_str("begins anew"),
        }
    }
}

/// Who connects to the socket of a sidecar.
type Caller = (Local, UnixPeer);

/// The socket of a sidecar, while that runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Socket(Arc<Mutex<Option<mpsc::UnboundedSender<Caller>>>>);

impl Socket {
    /// From now on somebody listens, who gets these callers.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<Caller> {
        let (sender, callers) = mpsc::unbounded_channel();
        *self.callers() = Some(sender);
        callers
    }

    fn connect(&self, network: &Network, uid: u32) -> Option<End> {
        let (ours, theirs) = Local::pair(network);
        let (gid, pid) = (uid, None);
        let sender = self.callers().clone()?;
        sender.send((theirs, UnixPeer { uid, gid, pid })).ok()?;
        Some(ours)
    }

    fn callers(&self) -> MutexGuard<'_, Option<mpsc::UnboundedSender<Caller>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a consumer is told.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    /// It takes what it is given, and stays.
    is_calm: bool,
    /// How often its machine lost its power.
    power_cuts: u32,
}

/// A consumer, seen from outside.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// How the trace names it.
    pub(crate) name: String,
    /// Who it is to the sidecar.
    pub(crate) uid: u32,
    pub(crate) kind: Kind,
    events: Arc<Mutex<Vec<(Instant, Event)>>>,
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
}

impl Consumer {
    /// Begins one on a node. It asks for these identities, where it has to ask.
    pub(crate) fn begin(
        (name, uid, kind): (String, u32, Kind),
        identities: Vec<String>,
        (network, socket): (Network, Socket),
        random: Rng,
    ) -> Self {
        let events = Arc::default();
        let (orders, ordered) = watch::channel(Orders::default());
        let process = Process {
            identities,
            uid,
            kind,
            network,
            socket,
            random,
            events: Arc::clone(&events),
            ordered,
            held: BTreeMap::new(),
        };
        let span = tracing::info_span!("consumer", name);
        let life = tracing::Instrument::instrument(process.live(), span);
        Self {
            name,
            uid,
            kind,
            events,
            orders,
            task: tokio::spawn(life),
        }
    }

    /// What happened since the last time.
    pub(crate) fn events(&self) -> Vec<(Instant, Event)> {
        std::mem::take(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it takes what it is given, and stays.
    pub(crate) fn calm(&self) {
        self.orders.send_modify(|orders| orders.is_calm = true);
    }

    /// Its machine loses its power.
    pub(crate) fn lose_power(&self) {
        self.orders.send_modify(|orders| orders.power_cuts += 1);
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The consumer itself.
struct Process {
    identities: Vec<String>,
    uid: u32,
    kind: Kind,
    network: Network,
    socket: Socket,
    random: Rng,
    events: Arc<Mutex<Vec<(Instant, Event)>>>,
    ordered: watch::Receiver<Orders>,
    /// The version of each thing that it took, by the name that it has on the stream.
    held: BTreeMap<String, String>,
}

impl Process {
    async fn live(mut self) {
        loop {
            let mut ordered = self.ordered.clone();
            let Orders { power_cuts, .. } = *ordered.borrow_and_update();
            tokio::select! {
                biased;
                _ = ordered.wait_for(|it| it.power_cuts != power_cuts) => {
                    self.held.clear();
                    self.note(Event::Forgot);
                }
                () = self.come_and_go() => {}
            }
        }
    }

    /// Comes, stays for a while, and goes.
    async fn come_and_go(&mut self) {
        sleep(self.pause()).await;
        let Some(end) = self.socket.connect(&self.network, self.uid) else {
            return;
        };
        let (stay, was_calm) = (self.stay(), self.is_calm());
        let mut ordered = self.ordered.clone();
        let left = async {
            // Whoever refused something is given it again when it comes back.
            let _ = timeout(stay, ordered.wait_for(|it| it.is_calm)).await;
        };
        tokio::select! {
            ended = self.consume(end) => if let Err(error) = ended {
                tracing::debug!(%error, "stream ended");
            },
            () = left, if !was_calm => {}
        }
        self.note(Event::Disconnected);
    }

    async fn consume(&mut self, end: End) -> Result<(), Refusal> {
        let channel = channel_over(end).await?;
        match self.kind {
            Kind::Delta => self.delta(channel).await,
            Kind::State => self.state(channel).await,
            Kind::Workload => self.workload(channel).await,
        }
    }

    fn note(&self, event: Event) {
        tracing::info!("{event}");
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push((Instant::now(), event));
    }

    fn is_calm(&self) -> bool {
        self.ordered.borrow().is_calm
    }

    fn pause(&mut self) -> Duration {
        let longest = match self.random.u8(0..8) {
            0 if !self.is_calm() => LONGEST_ABSENCE,
            _ => LONGEST_PAUSE,
        };
        Duration::from_secs_f64(0.1 + longest * self.random.f64())
    }

    fn stay(&mut self) -> Duration {
        Duration::from_secs_f64(1.0 + LONGEST_STAY * self.random.f64())
    }

    /// Takes its time, sometimes.
    async fn hesitate(&mut self) {
        if self.random.u8(0..4) == 0 && !self.is_calm() {
            sleep(SLOWEST.mul_f64(self.random.f64())).await;
        }
    }
}

/// Why a stream of a consumer ended.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// A client over one connection.
async fn channel_over(end: End) -> Result<Channel, tonic::transport::Error> {
    let mut once = Some(TokioIo::new(end));
    let connector = tower::service_fn(move |_: Uri| {
        let io = once.take().ok_or(io::ErrorKind::NotConnected);
        std::future::ready(io.map_err(io::Error::from))
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await
}
