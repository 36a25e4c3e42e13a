//! Local users: this executable again, as another uid, on the sidecar's socket.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use countersign_proto::discovery::{DeltaDiscoveryRequest, ErrorDetail};
use countersign_proto::workload::X509svidRequest;
use countersign_tests::sds::fetch;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::child::{Outcome, run};
use super::connection::Hostile;
use super::flood::Unfinished;
use super::honest::Waits;
use super::requests::{
    DELTA, WHOLE, WORKLOAD, acknowledgement, framed, heavy_head, impossible, possible,
    subscription, unfinished_name,
};

/// The argument by which this executable becomes such a caller.
const CALLER: &str = "caller";
/// Bytes of answers that a connection takes in.
const UNREAD: u32 = 1 << 20;
/// Streams of one connection: as many as the socket lets it have.
const STREAMS: usize = 2_048;
const CONNECTIONS: usize = 4;
/// Connections that one user tries to have.
const MANY: usize = 1_024;
/// Streams of each of them, to fill windows.
const FEW: usize = 64;
/// Names of an earlier attack, those that one stream is let in with, and those of one message.
const NAMES: usize = 16_000;
const NAMES_LET_IN: usize = 4_000;
const NAMES_OF_A_MESSAGE: usize = 400;
/// Small messages, after the names that so many streams are let in with together.
const TINY_STREAMS: usize = 40;
const TINY_MESSAGES: usize = 2_840;
const TINY_NAMES: usize = 400;
/// Nothing is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a local user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Act {
    /// Messages of 4 MiB that are never finished, on 8 192 streams
    Unfinished,
    /// The same with messages that are short enough to be taken in
    UnfinishedMebibyte,
    /// 16 000 names of 2 290 bytes on as many streams as there are
    Names,
    /// The longest names that could be there
    PossibleNames,
    /// Heads of many fields on streams without a message
    Heads,
    /// A thousand connections whose windows are full
    Windows,
    /// Streams whose answers nobody reads
    Answers,
    /// 2 840 small messages on each of 40 streams with 400 names
    Tiny,
    /// The same name again, 2 840 times, on each of 40 streams with 400 names
    Again,
    /// Streams that are opened and given up
    Opens,
    /// Refusals of what was served
    Refusals,
    /// Honest: fetches its certificate again and again
    Fetch,
}

impl Act {
    /// In words.
    pub fn title(self) -> String {
        let value = self.to_possible_value();
        let help = value.as_ref().and_then(|value| value.get_help());
        help.map(ToString::to_string).unwrap_or_default()
    }
}

/// A local user as a process.
#[derive(Args, Debug)]
pub struct Caller {
    /// What it does
    #[arg(value_enum)]
    act: Act,
    /// The sidecar's socket
    #[arg(long)]
    socket: PathBuf,
    /// For how long
    #[arg(long)]
    seconds: u64,
}

/// Runs a caller as this user, from an executable that the user can run.
///
/// # Errors
/// It cannot be started, or it failed.
pub async fn run_as(
    uid: u32,
    executable: &Path,
    act: Act,
    socket: &Path,
    seconds: u64,
) -> Result<Outcome> {
    let act = act.to_possible_value().context("a hidden act")?;
    let uid = uid.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"])
        .arg(executable)
        .args([CALLER, act.get_name(), "--seconds", &seconds.to_string()])
        .arg("--socket")
        .arg(socket);
    run(&mut command).await
}

impl Caller {
    /// Acts, and says what it came to.
    ///
    /// # Errors
    /// The sidecar is not there.
    pub async fn run(self) -> Result<()> {
        self.act().await?.tell()
    }

    async fn act(&self) -> Result<Outcome> {
        match self.act {
            Act::Unfinished => {
                let body = unfinished_name(4 << 20);
                self.hold(CONNECTIONS, of(WHOLE, body, STREAMS)).await
            }
            Act::UnfinishedMebibyte => {
                let body = unfinished_name(1 << 20);
                self.hold(CONNECTIONS, of(WHOLE, body, STREAMS)).await
            }
            Act::Names => {
                let body = names(NAMES, impossible);
                self.hold(CONNECTIONS, of(DELTA, body, STREAMS)).await
            }
            Act::PossibleNames => {
                let body = names(NAMES_LET_IN, possible);
                self.hold(CONNECTIONS, of(DELTA, body, STREAMS)).await
            }
            Act::Heads => {
                let heads = Unfinished::heads(DELTA, heavy_head(), STREAMS);
                self.hold(CONNECTIONS, heads).await
            }
            Act::Windows => {
                let body = unfinished_name(1 << 20);
                self.hold(MANY, of(WHOLE, body, FEW)).await
            }
            Act::Answers => self.leave_answers().await,
            Act::Tiny => self.tiny(&acknowledgement()).await,
            Act::Again => self.tiny(&subscription(vec!["default".to_owned()])).await,
            Act::Opens => self.open_streams().await,
            Act::Refusals => self.refuse().await,
            Act::Fetch => self.fetch().await,
        }
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    async fn dial(&self, unread: u32) -> Option<Hostile> {
        Hostile::unix(&self.socket, unread).await.ok()
    }

    async fn hold(&self, connections: usize, calls: Unfinished) -> Result<Outcome> {
        let held = calls.hold(connections, async || self.dial(UNREAD).await);
        let held = timeout(PATIENCE, held).await?;
        sleep(self.length()).await;
        Ok(Outcome::of(held))
    }

    /// Every stream may send a byte, so each has an answer under way, and no more is read.
    async fn leave_answers(&self) -> Result<Outcome> {
        let all = framed(&subscription(vec!["*".to_owned()]));
        let calls = of(DELTA, all, STREAMS);
        let held = calls.hold(CONNECTIONS, async || self.dial(1).await).await;
        sleep(self.length()).await;
        Ok(Outcome::of(held))
    }

    async fn tiny(&self, message: &DeltaDiscoveryRequest) -> Result<Outcome> {
        let message = framed(message);
        let short = |number| format!("spiffe://{}/{number}", crate::issuance::TRUST_DOMAIN);
        let names = names(TINY_NAMES, short);
        let streams = (0..TINY_STREAMS).map(|_| self.talk(names.clone(), message.clone()));
        let sent = join_all(streams).await;
        sleep(self.length()).await;
        Ok(Outcome {
            begun: sent.into_iter().sum(),
            ..Outcome::default()
        })
    }

    /// One stream on a connection of its own: its names, then small messages; answers are read.
    async fn talk(&self, names: Bytes, message: Bytes) -> usize {
        let Some(mut connection) = self.dial(UNREAD).await else {
            return 0;
        };
        let Some((mut answer, mut body)) = of(DELTA, names, 1).begin(&mut connection).await else {
            return 0;
        };
        let mut sent = 0;
        let talking = async {
            while sent < TINY_MESSAGES && body.send_data(message.clone(), false).is_ok() {
                sent += 1;
                body.reserve_capacity(message.len());
                if std::future::poll_fn(|cx| body.poll_capacity(cx))
                    .await
                    .is_none()
                {
                    break;
                }
            }
        };
        let reading = async {
            let Ok(answer) = (&mut answer).await else {
                return;
            };
            let mut answers = answer.into_body();
            while let Some(Ok(bytes)) = answers.data().await {
                // A stream that has ended needs no room.
                let _ = answers.flow_control().release_capacity(bytes.len());
            }
        };
        let both = async {
            tokio::select! {
                () = talking => {}
                () = reading => {}
            }
        };
        // Whoever is cut off has sent what it has.
        let _ = timeout(PATIENCE, both).await;
        sent
    }

    /// Opens streams as fast as it goes, and gives them up.
    async fn open_streams(&self) -> Result<Outcome> {
        let fields = [(
            HeaderName::from_static("workload.spiffe.io"),
            HeaderValue::from_static("true"),
        )];
        let calls = Unfinished {
            fields: fields.into_iter().collect(),
            ..of(WORKLOAD, framed(&X509svidRequest {}), STREAMS)
        };
        let begun = Instant::now();
        let mut outcome = Outcome::default();
        while begun.elapsed() < self.length() {
            let held = calls.hold(CONNECTIONS, async || self.dial(UNREAD).await);
            outcome.begun += held.await.opened();
        }
        Ok(outcome)
    }

    /// Refuses every answer, and asks again.
    async fn refuse(&self) -> Result<Outcome> {
        let begun = Instant::now();
        let mut connection = self.dial(UNREAD).await.context("nobody listens")?;
        let ask = framed(&subscription(vec!["default".to_owned()]));
        let begin = of(DELTA, ask, 1).begin(&mut connection).await;
        let (answer, mut body) = begin.context("no stream")?;
        let mut answers = answer.await?.into_body();
        let mut nonce = 1usize;
        while begun.elapsed() < self.length() {
            let Ok(Some(Ok(bytes))) = timeout(PATIENCE, answers.data()).await else {
                break;
            };
            answers.flow_control().release_capacity(bytes.len())?;
            let refusal = DeltaDiscoveryRequest {
                response_nonce: nonce.to_string(),
                error_detail: Some(ErrorDetail {
                    message: "no".repeat(500),
                    ..ErrorDetail::default()
                }),
                ..subscription(vec!["default".to_owned()])
            };
            body.send_data(framed(&refusal), false)?;
            nonce += 1;
        }
        Ok(Outcome {
            begun: nonce,
            ..Outcome::default()
        })
    }

    async fn fetch(&self) -> Result<Outcome> {
        let begun = Instant::now();
        let mut waits = Waits::default();
        while begun.elapsed() < self.length() {
            waits
                .note(async {
                    match fetch(&self.socket, &["default"]).await {
                        Ok(answer) if !answer.resources.is_empty() => Ok(()),
                        Ok(_) => bail!("no certificate"),
                        Err(status) => Err(status.into()),
                    }
                })
                .await;
            sleep(Duration::from_millis(100)).await;
        }
        let micros = |wait: &Duration| u64::try_from(wait.as_micros());
        Ok(Outcome {
            served_us: waits.served.iter().map(micros).collect::<Result<_, _>>()?,
            failed: waits.failed,
            ..Outcome::default()
        })
    }
}

fn of(path: &'static str, body: Bytes, streams: usize) -> Unfinished {
    Unfinished {
        path,
        fields: HeaderMap::new(),
        body,
        streams,
    }
}

fn names(count: usize, name: impl Fn(usize) -> String) -> Bytes {
    let messages = (0..count).step_by(NAMES_OF_A_MESSAGE).map(|first| {
        let names = (first..first + NAMES_OF_A_MESSAGE).map(&name).collect();
        framed(&subscription(names))
    });
    messages.collect::<Vec<_>>().concat().into()
}
