//! Connected sidecars, each of which comes back by itself when it loses its stream.
//!
//! How they do it is how the sidecar does it: the waits and the patience here are those of
//! `sidecar/src/backoff.rs` and `sidecar/src/control/patience.rs`, for several addresses of which no other is
//! better.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use countersign_envoy::SECRET_TYPE;
use countersign_serve::grpc::Keepalive;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::issuance::link::over;
use crate::issuance::sidecar::{Node, Sidecar};
use crate::issuance::stream::{Arrived, Held};

/// So many come for the first time at once; when they come back nothing holds them.
const DIALLING: usize = 256;
/// A connection that lasted so long was good: nothing before it counts.
const STEADY: Duration = Duration::from_secs(10);
/// Between losing one control plane and dialling the next, at most.
const ELSEWHERE: Duration = Duration::from_millis(200);
/// The longest wait after failures in a row.
const LONGEST: Duration = Duration::from_secs(5);
/// TCP is up in this time.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// And TLS in this.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// A ping after so much silence.
const PING: Duration = Duration::from_millis(800);
/// So long a silence is remembered.
const SILENCE_REMEMBERED: Duration = Duration::from_secs(30);
/// What is waited for where no other address is better: for the answer to a ping, and for a hello.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);
/// What a hasty one waits for at first; each silence doubles it up to the longest.
const HASTY_ANSWER: Duration = Duration::from_millis(800);
const HASTY_HELLO: Duration = Duration::from_secs(2);

/// How long a sidecar waits for a control plane that does not answer, where it knows of no better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As ours.
    Patient,
    /// As ours did once: a connection is given up after 0.8 s.
    Hasty,
}

/// A sidecar by what it has on disk and in memory.
pub struct Member {
    node: Node,
    held: Held,
}

impl Member {
    /// One that holds this.
    pub fn new(node: Node, held: Held) -> Self {
        Self { node, held }
    }
}

/// What happened to all of them.
#[derive(Debug, Default)]
pub struct Tally {
    /// Tries that did not lead to a connection.
    pub unconnected: AtomicUsize,
    /// Tries that led to a connection and to no handshake.
    pub unhandshaken: AtomicUsize,
    /// Tries that led to no stream on a connection that was there.
    pub unopened: AtomicUsize,
    /// Streams that ended.
    pub lost: AtomicUsize,
    /// Secrets that came, each with a version that was not held.
    pub secrets: AtomicUsize,
    /// Any message with resources.
    pub messages: AtomicUsize,
}

impl Tally {
    /// What was counted so far.
    pub fn of(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::Relaxed)
    }

    /// Tries that did not lead to a stream.
    pub fn failed(&self) -> usize {
        let steps = [&self.unconnected, &self.unhandshaken, &self.unopened];
        steps.into_iter().map(Self::of).sum()
    }
}

/// Sidecars that are connected, or want to be. Dropping it ends them.
pub struct Fleet {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Manner,
    address: watch::Sender<SocketAddr>,
    /// Who comes for the first time waits here.
    first: Semaphore,
    connected: watch::Sender<usize>,
    /// When each had its first stream since the last turn.
    opened: Mutex<HashMap<u64, Instant>>,
    tally: Tally,
}

impl Fleet {
    /// Nobody yet; those who come connect there.
    pub fn new(address: SocketAddr, manner: Manner) -> Self {
        let shared = Shared {
            manner,
            address: watch::Sender::new(address),
            first: Semaphore::new(DIALLING),
            connected: watch::Sender::new(0),
            opened: Mutex::default(),
            tally: Tally::default(),
        };
        Self {
            tasks: JoinSet::new(),
            shared: Arc::new(shared),
        }
    }

    /// Lets one more connect, and from then on come back.
    pub fn add(&mut self, member: Member) {
        let number = self.tasks.len() as u64;
        self.tasks.spawn(stay(member, self.shared.clone(), number));
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.tasks.len()
    }

    /// From now on everybody who dials does so there.
    pub fn turn_to(&self, address: SocketAddr) {
        lock(&self.shared.opened).clear();
        self.shared.address.send_replace(address);
    }

    /// Waits until so many have their stream.
    ///
    /// # Errors
    /// They do not within the bound.
    pub async fn connected(&self, count: usize, bound: Duration) -> Result<()> {
        let mut connected = self.shared.connected.subscribe();
        let reached = timeout(bound, connected.wait_for(|now| *now == count)).await;
        let (now, tally) = (*self.shared.connected.borrow(), self.tally());
        reached.with_context(|| {
            format!("{now} of {count} have a stream after {bound:?}: {tally:?}")
        })??;
        Ok(())
    }

    /// Waits until all have a stream that was opened since the last turn.
    ///
    /// # Errors
    /// They do not within the bound.
    pub async fn turned(&self, bound: Duration) -> Result<()> {
        let size = self.size();
        let turned = async {
            let mut connected = self.shared.connected.subscribe();
            let all = |now: &usize| *now == size && lock(&self.shared.opened).len() == size;
            connected.wait_for(all).await.map(drop)
        };
        let turned = timeout(bound, turned).await;
        let (now, tally) = (lock(&self.shared.opened).len(), self.tally());
        turned.with_context(|| {
            format!("{now} of {size} have a new stream after {bound:?}: {tally:?}")
        })??;
        Ok(())
    }

    /// How long after a moment each of them had its first stream since the last turn.
    pub fn opened_after(&self, moment: Instant) -> Vec<Duration> {
        let opened = lock(&self.shared.opened);
        let after = opened.values();
        after
            .map(|at| at.saturating_duration_since(moment))
            .collect()
    }

    /// What happened.
    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }
}

/// Keeps a stream open, for ever.
async fn stay(mut member: Member, shared: Arc<Shared>, number: u64) {
    let mut row = Row {
        failures: 0,
        silences: 0,
        silent_at: None,
        draws: fastrand::Rng::with_seed(number),
    };
    let mut first = shared.first.acquire().await.ok();
    loop {
        let address = *shared.address.borrow();
        let patience = row.patience(shared.manner);
        let opened = open(&member, address, patience).await;
        drop(first.take());
        let sidecar = match opened {
            Ok(sidecar) => sidecar,
            Err(failed) => {
                shared.tally.count(failed);
                sleep(row.failed(failed)).await;
                continue;
            }
        };
        let since = Instant::now();
        lock(&shared.opened).entry(number).or_insert(since);
        shared.connected.send_modify(|count| *count += 1);
        member.held = listen(sidecar, &shared.tally).await;
        shared.connected.send_modify(|count| *count -= 1);
        shared.tally.lost.fetch_add(1, Ordering::Relaxed);
        let is_dead = *shared.address.borrow() != address;
        sleep(row.lost(since.elapsed() >= STEADY, is_dead)).await;
    }
}

/// What happened in a row, and the waits that it earns.
struct Row {
    failures: u32,
    silences: u32,
    silent_at: Option<Instant>,
    draws: fastrand::Rng,
}

impl Row {
    /// How long a ping and a hello may take now.
    fn patience(&self, manner: Manner) -> (Duration, Duration) {
        let is_over = |at: Instant| at.elapsed() >= SILENCE_REMEMBERED;
        let silences = match self.silent_at {
            Some(at) if !is_over(at) => self.silences,
            _ => 0,
        };
        let times = 2_u32.pow(silences.min(5));
        let hasty = [HASTY_ANSWER, HASTY_HELLO].map(|it| (it * times).min(LONGEST_ANSWER));
        match manner {
            Manner::Patient => (LONGEST_ANSWER, LONGEST_ANSWER),
            Manner::Hasty => (hasty[0], hasty[1]),
        }
    }

    /// The wait after a try that led to no stream.
    fn failed(&mut self, failed: Failed) -> Duration {
        if failed == Failed::Silent {
            self.silences += 1;
            self.silent_at = Some(Instant::now());
        }
        let ceiling = (ELSEWHERE * 2_u32.pow(self.failures.min(5))).min(LONGEST);
        self.failures += 1;
        ceiling.mul_f64(self.draws.f64())
    }

    /// The wait after a stream that ended: its control plane was killed and there is another, or a ping was
    /// not answered in time and there is none.
    fn lost(&mut self, was_steady: bool, is_dead: bool) -> Duration {
        if was_steady {
            self.failures = 0;
        }
        match is_dead {
            true => ELSEWHERE.mul_f64(self.draws.f64()),
            false => self.failed(Failed::Silent),
        }
    }
}

/// How far a try came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Unconnected,
    Unhandshaken,
    Refused,
    Silent,
}

impl Tally {
    fn count(&self, failed: Failed) {
        let counter = match failed {
            Failed::Unconnected => &self.unconnected,
            Failed::Unhandshaken => &self.unhandshaken,
            Failed::Refused | Failed::Silent => &self.unopened,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream on which the control plane has said hello; a ping and the hello may take so long.
async fn open(
    member: &Member,
    address: SocketAddr,
    (answer, hello): (Duration, Duration),
) -> Result<Sidecar, Failed> {
    let keepalive = Keepalive {
        interval: PING,
        timeout: answer,
    };
    let tcp = timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await;
    let tcp = tcp.ok().and_then(Result::ok).ok_or(Failed::Unconnected)?;
    let link = over(tcp, Some(member.node.identity()), Some(keepalive));
    let link = timeout(HANDSHAKE_DEADLINE, link).await;
    let link = link.ok().and_then(Result::ok).ok_or(Failed::Unhandshaken)?;
    let greeted = async {
        let mut sidecar = Sidecar::come_back(link, &member.held).await?;
        let hello = sidecar.next().await?;
        let Arrived::Hello { .. } = hello else {
            bail!("no hello");
        };
        Ok(sidecar)
    };
    let greeted = timeout(hello, greeted).await;
    greeted
        .map_err(|_| Failed::Silent)?
        .map_err(|_| Failed::Refused)
}

/// Takes in what comes, until the stream ends; what is held then.
async fn listen(mut sidecar: Sidecar, tally: &Tally) -> Held {
    while let Ok(arrived) = sidecar.next().await {
        if let Arrived::Resources {
            type_url,
            resources,
        } = arrived
        {
            tally.messages.fetch_add(1, Ordering::Relaxed);
            if type_url == SECRET_TYPE {
                tally.secrets.fetch_add(resources.len(), Ordering::Relaxed);
            }
        }
    }
    sidecar.held
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
