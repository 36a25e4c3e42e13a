//! The network between the hosts of a run. The seed draws how long each piece takes, what is lost and
//! sent again, and the world cuts ways, in one direction or both, and resets connections.
//!
//! Bytes of one connection stay in order, as TCP keeps them: what is lost arrives late, and everything
//! behind it as well.

mod end;
mod pipe;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use countersign_serve::wire::{Dial, Dialling, Listen, Wire};
use fastrand::Rng;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

pub(crate) use end::{End, Local};
use pipe::Pipe;

/// What TCP waits before it sends again what was lost.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// How often a piece is lost in a row, at most.
const MOST_LOSSES: u32 = 6;

/// The network of one run.
#[derive(Clone, Debug)]
pub(crate) struct Network(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ways: Mutex<Ways>,
    /// Changes whenever a way is cut or healed.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Ways {
    random: Rng,
    conditions: Conditions,
    listening: BTreeMap<SocketAddr, mpsc::UnboundedSender<(End, SocketAddr)>>,
    cuts: BTreeMap<u32, Vec<Cut>>,
    made: u32,
    pipes: Vec<Weak<Pipe>>,
    ports: u16,
}

/// A way on which nothing arrives: from a host, or from all; to a host, or to all.
pub(crate) type Cut = (Option<IpAddr>, Option<IpAddr>);

/// How the network is between two machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// The shortest time that a piece takes.
    pub(crate) delay: Duration,
    /// How much longer it may take.
    pub(crate) jitter: Duration,
    /// The share of pieces that are lost and sent again.
    pub(crate) loss: f64,
}

impl Conditions {
    /// As between machines of one site.
    pub(crate) fn good() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(5),
            loss: 0.002,
        }
    }
}

impl Network {
    pub(crate) fn new(random: Rng, conditions: Conditions) -> Self {
        let ways = Ways {
            random,
            conditions,
            listening: BTreeMap::new(),
            cuts: BTreeMap::new(),
            made: 0,
            pipes: Vec::new(),
            ports: 32_768,
        };
        Self(Arc::new(Shared {
            ways: Mutex::new(ways),
            changes: watch::Sender::new(()),
        }))
    }

    /// Listens at an address, in the place of whoever did before.
    pub(crate) fn listen(&self, at: SocketAddr) -> Listener {
        let (sender, connections) = mpsc::unbounded_channel();
        self.ways().listening.insert(at, sender);
        Listener {
            connections: tokio::sync::Mutex::new(connections),
        }
    }

    /// Nobody listens there any more.
    pub(crate) fn stop_listening(&self, at: SocketAddr) {
        self.ways().listening.remove(&at);
    }

    /// The network as this host has it.
    pub(crate) fn of(&self, host: IpAddr) -> Arc<dyn Dial> {
        Arc::new(Host {
            network: self.clone(),
            address: host,
        })
    }

    /// From now on nothing arrives that goes these ways, until that is healed.
    pub(crate) fn cut(&self, these: Vec<Cut>) -> u32 {
        let mut ways = self.ways();
        ways.made += 1;
        let number = ways.made;
        ways.cuts.insert(number, these);
        drop(ways);
        self.0.changes.send_replace(());
        number
    }

    /// What was cut is open again, unless it was cut once more.
    pub(crate) fn heal(&self, cut: u32) {
        let mut ways = self.ways();
        ways.cuts.remove(&cut);
        let pipes = ways.open();
        drop(ways);
        pipes.iter().for_each(|pipe| pipe.heal(self));
        self.0.changes.send_replace(());
    }

    /// Breaks every connection that a host has.
    pub(crate) fn reset(&self, host: IpAddr) {
        let pipes = self.ways().open();
        let concerned = pipes.iter().filter(|it| it.from == host || it.to == host);
        concerned.for_each(|pipe| pipe.reset());
    }

    pub(crate) fn become_like(&self, conditions: Conditions) {
        self.ways().conditions = conditions;
    }

    /// When a piece that is sent now arrives; `None` where the way is cut.
    fn arrival(&self, from: IpAddr, to: IpAddr, newest: Option<Instant>) -> Option<Instant> {
        let mut ways = self.ways();
        if ways.is_cut(from, to) {
            return None;
        }
        let due = Instant::now() + ways.delay(from, to);
        Some(newest.map_or(due, |newest| due.max(newest)))
    }

    fn note(&self, pipes: [&Arc<Pipe>; 2]) {
        let mut ways = self.ways();
        ways.pipes.retain(|pipe| pipe.strong_count() > 0);
        ways.pipes.extend(pipes.map(Arc::downgrade));
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.0.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ways {
    fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        let is_it = |host: &Option<IpAddr>, it| host.is_none_or(|host| host == it);
        let mut cuts = self.cuts.values().flatten();
        cuts.any(|(out, back)| is_it(out, from) && is_it(back, to))
    }

    fn delay(&mut self, from: IpAddr, to: IpAddr) -> Duration {
        if from == to && from == IpAddr::V4(Ipv4Addr::LOCALHOST) {
            return Duration::ZERO;
        }
        let Conditions {
            delay,
            jitter,
            loss,
        } = self.conditions;
        let mut takes = delay + jitter.mul_f64(self.random.f64());
        let mut losses = 0;
        while losses < MOST_LOSSES && self.random.f64() < loss {
            takes += RETRANSMISSION * 2_u32.pow(losses);
            losses += 1;
        }
        takes
    }

    fn open(&self) -> Vec<Arc<Pipe>> {
        self.pipes.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Where connections arrive.
#[derive(Debug)]
pub(crate) struct Listener {
    connections: tokio::sync::Mutex<mpsc::UnboundedReceiver<(End, SocketAddr)>>,
}

impl Listen for Listener {
    type Wire = End;

    async fn accept(&self) -> (End, SocketAddr) {
        match self.connections.lock().await.recv().await {
            Some(accepted) => accepted,
            // Another listens here now.
            None => std::future::pending().await,
        }
    }
}

/// A host that dials.
#[derive(Debug)]
struct Host {
    network: Network,
    address: IpAddr,
}

impl Dial for Host {
    fn dial(&self, to: SocketAddr) -> Dialling {
        let (network, from) = (self.network.clone(), self.address);
        Box::pin(async move { network.connect(from, to).await })
    }
}

impl Network {
    /// There and back. Where a way is cut, not before it is healed.
    async fn connect(&self, from: IpAddr, to: SocketAddr) -> io::Result<Box<dyn Wire>> {
        for (from, to) in [(from, to.ip()), (to.ip(), from)] {
            let takes = self.ways().delay(from, to);
            sleep(takes).await;
            let mut changes = self.0.changes.subscribe();
            while self.ways().is_cut(from, to) {
                let _ = changes.changed().await;
            }
        }
        let (ours, theirs) = End::pair(self, from, to.ip());
        let mut ways = self.ways();
        ways.ports = ways.ports.checked_add(1).unwrap_or(32_768);
        let peer = SocketAddr::new(from, ways.ports);
        let listener = ways.listening.get(&to).cloned();
        drop(ways);
        let sent = listener.map(|listener| listener.send((theirs, peer)));
        match sent {
            Some(Ok(())) => Ok(Box::new(ours)),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}
