//! Strangers on the network, and a node that misbehaves: this executable again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use countersign_proto::PROTOCOL_VERSION;
use countersign_proto::mesh::{Hello, NodeMessage, node_message};
use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::child::{Outcome, run};
use super::connection::{Dialler, connect_from_strangers};
use super::flood::Unfinished;
use super::raw::endless_head;
use super::requests::{
    ATTEST, DISCOVER, ENROL, framed, heavy_head, impossible, subscription, unfinished,
};
use crate::issuance::sidecar::Node;

/// The argument by which this executable becomes one.
const STRANGER: &str = "stranger";
/// Connections of a flood, as many as an earlier version held.
const CONNECTIONS: usize = 17_000;
/// Handshakes that a flood has under way, and half-open ones that it keeps.
const DIALLING: usize = 512;
const STALLED: usize = 4_000;
/// Connections with unfinished calls: few, all that a node may have, all that strangers may.
const FEW: usize = 4;
const OF_A_NODE: usize = 8;
const MANY: usize = 1_024;
/// Streams of each: as many as the API lets a connection have.
const STREAMS: usize = 256;
/// The longest message that may be sent to attest, and to enrol.
const ATTEST_BYTES: usize = 16 * 1024;
const ENROL_BYTES: usize = 256 * 1024;
/// Names of a node's stream, and how many of them are asked for in one message.
const NAMES: usize = 16_384;
const NAMES_OF_A_MESSAGE: usize = 1_024;
/// So long what was set up is held: longer than a handshake or a message may take.
const HOLD: Duration = Duration::from_secs(12);
/// The beginning of a TLS record, which never goes on.
const BEGUN: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01];

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Act {
    /// 17 000 connections without a certificate, answering pings
    Connections,
    /// 4 connections with 256 unfinished enrolments of 256 KiB each, without a certificate
    Enrolments,
    /// 4 connections with 256 unfinished attestations of 16 KiB each
    Attestations,
    /// 1 024 connections with 256 unfinished attestations of 16 KiB each
    ManyAttestations,
    /// 1 024 connections with as many heads of 200 fields as there are streams
    Heads,
    /// 1 024 connections with a head that never ends
    EndlessHeads,
    /// A node: 8 connections with 256 unfinished enrolments of 256 KiB each
    NodeEnrolments,
    /// A node: a stream with 16 384 names that it could have
    NodeNames,
    /// A node: a stream with 16 384 names of 2 290 bytes
    NodeLongNames,
    /// 17 000 connections without a certificate
    Refused,
    /// 4 000 handshakes that never go on
    Stalled,
}

impl Act {
    /// In words.
    pub fn title(self) -> String {
        let value = self.to_possible_value();
        let help = value.as_ref().and_then(|value| value.get_help());
        help.map(ToString::to_string).unwrap_or_default()
    }

    /// Whether a node does it.
    pub fn is_of_a_node(self) -> bool {
        matches!(
            self,
            Self::NodeEnrolments | Self::NodeNames | Self::NodeLongNames
        )
    }

    /// Has another process do it.
    ///
    /// # Errors
    /// It cannot be started, or it failed.
    pub async fn run(self, address: SocketAddr, token: Option<&str>) -> Result<Outcome> {
        let act = self.to_possible_value().context("a hidden act")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([STRANGER, act.get_name(), "--address", &address.to_string()]);
        command.args(token.map(|token| format!("--token={token}")));
        run(&mut command).await
    }
}

/// A stranger as a process.
#[derive(Args, Debug)]
pub struct Stranger {
    /// What it does
    #[arg(value_enum)]
    act: Act,
    /// Where
    #[arg(long)]
    address: SocketAddr,
    /// Makes it a node
    #[arg(long)]
    token: Option<String>,
}

impl Stranger {
    /// Acts, and says what it came to.
    ///
    /// # Errors
    /// The daemon is not there.
    pub async fn run(self) -> Result<()> {
        let dialler = match &self.token {
            None => Dialler::new(self.address, None)?,
            Some(token) => {
                let node = Node::attest(self.address, token).await?;
                Dialler::new(self.address, Some(node.identity()))?
            }
        };
        self.act(&dialler).await?.tell()
    }

    async fn act(&self, dialler: &Dialler) -> Result<Outcome> {
        let attestations = || unfinished_calls(ATTEST, ATTEST_BYTES);
        let enrolments = || unfinished_calls(ENROL, ENROL_BYTES);
        let heads = || Unfinished::heads(ATTEST, heavy_head(), STREAMS);
        Ok(match self.act {
            Act::Connections => crowd(dialler).await,
            Act::Enrolments => hold(&enrolments(), FEW, dialler).await,
            Act::Attestations => hold(&attestations(), FEW, dialler).await,
            Act::ManyAttestations => hold(&attestations(), MANY, dialler).await,
            Act::Heads => hold(&heads(), MANY, dialler).await,
            Act::EndlessHeads => endless_heads(dialler).await,
            Act::NodeEnrolments => hold(&enrolments(), OF_A_NODE, dialler).await,
            Act::NodeNames => {
                let possible = |number| format!("reg-{number:032x}");
                hold(&names(possible), 1, dialler).await
            }
            Act::NodeLongNames => hold(&names(impossible), 1, dialler).await,
            Act::Refused => refused(dialler).await,
            Act::Stalled => stalled(self.address).await,
        })
    }
}

fn unfinished_calls(path: &'static str, bytes: usize) -> Unfinished {
    Unfinished {
        body: unfinished(bytes),
        ..Unfinished::heads(path, HeaderMap::new(), STREAMS)
    }
}

/// One stream that asks for many names.
fn names(name: impl Fn(usize) -> String) -> Unfinished {
    let says = |message| {
        framed(&NodeMessage {
            message: Some(message),
        })
    };
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        ..Hello::default()
    };
    let mut body = vec![says(node_message::Message::Hello(hello))];
    for first in (0..NAMES).step_by(NAMES_OF_A_MESSAGE) {
        let names = (first..first + NAMES_OF_A_MESSAGE).map(&name).collect();
        body.push(says(node_message::Message::Delta(subscription(names))));
    }
    Unfinished {
        body: body.concat().into(),
        ..Unfinished::heads(DISCOVER, HeaderMap::new(), 1)
    }
}

async fn hold(calls: &Unfinished, connections: usize, dialler: &Dialler) -> Outcome {
    let held = calls.hold(connections, async || dialler.http2().await.ok());
    let held = held.await;
    sleep(HOLD).await;
    Outcome::of(held)
}

/// Does something many times, a bounded number at once, and goes on when a turn is given back.
async fn each<F>(times: usize, act: impl Fn(Turn) -> F) -> JoinSet<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(DIALLING));
    let mut acts = JoinSet::new();
    for _ in 0..times {
        let turn = turns.clone().acquire_owned().await;
        acts.spawn(act(turn.expect("never closed")));
        // What is over is not kept.
        while acts.try_join_next().is_some() {}
    }
    let all = u32::try_from(DIALLING).expect("few");
    drop(turns.acquire_many(all).await);
    acts
}

type Turn = tokio::sync::OwnedSemaphorePermit;

/// Connections that are held for as long as the other side lets them.
async fn crowd(dialler: &Dialler) -> Outcome {
    let counts: Arc<[AtomicUsize; 3]> = Arc::default();
    let open = each(CONNECTIONS, |turn| {
        let (dialler, counts) = (dialler.clone(), counts.clone());
        async move {
            let [made, open, most] = &*counts;
            let dialled = dialler.http2().await;
            drop(turn);
            if let Ok(mut connection) = dialled {
                made.fetch_add(1, Ordering::Relaxed);
                most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                connection.closed().await;
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    });
    let open = open.await;
    sleep(HOLD).await;
    drop(open);
    let [made, _, most] = &*counts;
    Outcome {
        begun: made.load(Ordering::Relaxed),
        connections: most.load(Ordering::Relaxed),
        ..Outcome::default()
    }
}

async fn endless_heads(dialler: &Dialler) -> Outcome {
    let mut open = JoinSet::new();
    for _ in 0..MANY {
        let dialler = dialler.clone();
        open.spawn(async move { endless_head(dialler.tls().await?).await });
    }
    sleep(HOLD).await;
    while open.try_join_next().is_some() {}
    Outcome {
        begun: MANY,
        connections: open.len(),
        ..Outcome::default()
    }
}

/// Handshakes that the other side refuses at their end.
async fn refused(dialler: &Dialler) -> Outcome {
    let mut acts = each(CONNECTIONS, |turn| {
        let dialler = dialler.clone();
        async move {
            if let Ok(mut tls) = dialler.tls().await {
                // It tells so, or closes.
                let _ = tls.read_u8().await;
            }
            drop(turn);
        }
    })
    .await;
    while acts.join_next().await.is_some() {}
    Outcome {
        begun: CONNECTIONS,
        ..Outcome::default()
    }
}

async fn stalled(address: SocketAddr) -> Outcome {
    let mut open = JoinSet::new();
    for _ in 0..STALLED {
        open.spawn(async move {
            let mut tcp = connect_from_strangers(address).await?;
            tcp.write_all(BEGUN).await?;
            anyhow::Ok(tcp.read_u8().await?)
        });
        tokio::task::yield_now().await;
    }
    sleep(HOLD).await;
    while open.try_join_next().is_some() {}
    Outcome {
        begun: STALLED,
        connections: open.len(),
        ..Outcome::default()
    }
}
