//! One discovery stream, from its Hello to its end, and the enrolments that run beside it.

mod doubting;
mod enrolling;
mod moving;
mod opening;
mod receiving;

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_discovery::DeltaRequest;
use countersign_model::{EntitlementId, nap};
use countersign_proto::PROTOCOL_VERSION;
use countersign_proto::mesh::node_message::Message as FromNode;
use countersign_proto::mesh::{ControlMessage, NodeMessage};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Streaming;

use enrolling::Enrolled;
pub(super) use moving::Moved;
#[cfg(test)]
pub(super) use moving::SPREAD_OVER;
use moving::{Moving, arrival};
use opening::{DialledWith, Opened};

use super::broken::status_words;
use super::dial::Link;
use super::silence::{Doubt, Silence};
use super::{Control, report};
use crate::proxy::identity::Served;
use crate::telemetry::Departure;

/// The control plane opens the stream and says Hello in this time.
pub(crate) const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Messages that wait to be sent; a control plane that reads none of them is given up.
pub(crate) const MAX_UNSENT: usize = 1_024;
/// The plan is made anew at least this often.
pub(crate) const REPLAN_EVERY: Duration = Duration::from_secs(5);
/// The number of handshakes that failed is told at most this often: a stranger at a listener must not
/// decide how much is sent.
const FAILURES_EVERY: Duration = Duration::from_secs(5);
/// What was refused for a reason that passes, such as a full disk, is asked for again this often.
pub(crate) const REFUSED_RETRY: Duration = Duration::from_secs(5);
/// The share of the node credential's lifetime after which a connection that was made with it is
/// replaced by one with its successor.
const REDIAL_AT: f64 = 0.75;

/// Why a stream ended or did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SessionError {
    /// The control plane ended it, or the connection broke.
    #[error("{}", status_words(.0))]
    Ended(tonic::Status),
    /// Another process opened a stream with the same node credential: a copy of the state
    /// directory, or a stolen node key.
    #[error("another sidecar took the stream over with this node's credential: {0}")]
    Replaced(String),
    /// This node attested elsewhere or was evicted, or its credential expired.
    #[error("the control plane does not recognise this node's credential: {0}")]
    Unrecognised(String),
    /// The stream was closed without a status.
    #[error("the control plane closed the stream")]
    Closed,
    /// It is not what it was: its data was put back from a copy.
    #[error(
        "the control plane is older than what this sidecar has of it, so nothing is asked of it: \
         its data was put back from a copy ({0}); an operator has to begin a new epoch with \
         `countersign backup` and `countersign restore`"
    )]
    Older(String),
    /// Nothing came over the connection any more.
    #[error("the control plane did not answer a keepalive in time")]
    Silent,
    /// It did not say Hello.
    #[error("the control plane did not say Hello in time")]
    NoHello,
    /// It speaks another protocol.
    #[error(
        "the control plane speaks protocol version {0}, this sidecar speaks {PROTOCOL_VERSION}"
    )]
    Protocol(u32),
    /// It cannot do now what another control plane may.
    #[error("the control plane cannot certify now, so another address is tried: {0}")]
    Unable(String),
    /// It reads nothing.
    #[error("the control plane does not read what it is sent")]
    Stalled,
}

impl SessionError {
    /// What happened where this was the connection.
    pub(super) fn over(self, link: &Link) -> Self {
        match self {
            Self::Ended(status) if link.is_silent(&status) => Self::Silent,
            other => other,
        }
    }
}

impl From<tonic::Status> for SessionError {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::DataLoss => Self::Older(status.message().to_owned()),
            tonic::Code::Aborted => Self::Replaced(status.message().to_owned()),
            tonic::Code::Unauthenticated => Self::Unrecognised(status.message().to_owned()),
            _ => Self::Ended(status),
        }
    }
}

/// Why a session ended in good order.
#[derive(Debug)]
pub(super) enum Finished {
    /// The node's credential was renewed, and this connection was made with the old one.
    Redial,
    /// Another stream is open: where there are fewer, or because this one was silent.
    Moved(Box<Moved>, Departure),
}

/// An open stream.
pub(super) struct Session<'a> {
    control: &'a mut Control,
    link: Link,
    dialled_with: DialledWith,
    outbox: mpsc::Sender<NodeMessage>,
    inbox: Streaming<ControlMessage>,
    enrolments: JoinSet<Enrolled>,
    in_flight: BTreeSet<EntitlementId>,
    /// By type and name.
    refused: BTreeSet<(String, String)>,
    ask_again_at: Option<Instant>,
    reported: Served,
    report_at: Option<Instant>,
    /// Handshakes that failed, as last told on this stream.
    failures: Option<u64>,
    failures_at: Instant,
    /// Why this control plane is left for another once nothing is in flight.
    unable: Option<String>,
    /// Whether anything was heard lately.
    silence: Silence,
    /// It is silent, and another is looked for.
    doubt: Option<Doubt>,
    /// The way to another one: that this one wished for, or any where it is silent.
    moving: Option<Moving>,
    /// A stream there, for which this one is left: once nothing is in flight, or at once where it is silent.
    moved: Option<Box<Moved>>,
}

impl<'a> Session<'a> {
    /// Opens the stream: Hello both ways, then what is wanted and what is held.
    pub(super) async fn open(control: &'a mut Control, link: Link) -> Result<Self, SessionError> {
        let (hello, deadline) = (control.hello(), control.hello_deadline(Instant::now()));
        let dialled_with = control.dialled_with();
        let opened = Opened::over(link, hello, deadline).await?;
        Self::begin(control, opened, dialled_with)
    }

    /// On a stream that is open.
    pub(super) fn begin(
        control: &'a mut Control,
        opened: Opened,
        dialled_with: DialledWith,
    ) -> Result<Self, SessionError> {
        // Before anything is asked for: what it certifies now nobody could take.
        if let Some(stamp) = opened.stamp {
            let fits = control.client.check(stamp);
            fits.map_err(|older| SessionError::Older(older.to_string()))?;
        }
        control.renewals.reconnected();
        control.opened();
        Ok(Self {
            control,
            link: opened.link,
            dialled_with,
            outbox: opened.outbox,
            inbox: opened.inbox,
            enrolments: JoinSet::new(),
            in_flight: BTreeSet::new(),
            refused: BTreeSet::new(),
            ask_again_at: None,
            reported: Served::new(),
            report_at: None,
            failures: None,
            failures_at: Instant::now(),
            unable: None,
            silence: Silence::default(),
            doubt: None,
            moving: None,
            moved: None,
        })
    }

    /// Runs until the stream ends or has to be replaced.
    pub(super) async fn run(mut self) -> Result<Finished, SessionError> {
        // First of all: after a restart of the control plane its gate must not open on our own
        // acknowledgement of a bundle before it knows who else is behind us.
        self.report_consumers()?;
        for request in self.control.client.reconnect() {
            self.ask(request)?;
        }
        let mut demanded = self.control.holdings.demanded();
        let mut consumers = self.control.consumers.subscribe();
        let mut served = self.control.served.clone();
        self.report_served(&served.borrow_and_update().clone())?;
        loop {
            let now = self.control.clock.now();
            // Whoever is about to leave begins nothing that it would have to wait for.
            let wake = match self.unable.is_some() || self.moved.is_some() {
                true => None,
                false => self.start_enrolments(&demanded.borrow_and_update().clone(), now),
            };
            if let Some(moved) = self.moved.take_if(|_| self.doubt.is_some()) {
                return Ok(Finished::Moved(moved, Departure::Silent));
            }
            if self.in_flight.is_empty() {
                if let Some(why) = self.unable.take() {
                    return Err(SessionError::Unable(why));
                }
                if let Some(moved) = self.moved.take() {
                    return Ok(Finished::Moved(moved, Departure::Rebalanced));
                }
                if self.must_redial(now) {
                    return Ok(Finished::Redial);
                }
            }
            let nap = wake.map_or(REPLAN_EVERY, |wake| nap(now, wake).min(REPLAN_EVERY));
            let save_at = self.control.save_when_due(Instant::now());
            let (report_at, ask_again_at) = (self.report_at, self.ask_again_at);
            let look_at = self.look_for_silence(Instant::now())?;
            tokio::select! {
                message = self.inbox.message() => {
                    let message = message?.ok_or(SessionError::Closed)?;
                    let now = self.control.clock.now();
                    self.receive(message, now)?;
                }
                Some(done) = self.enrolments.join_next() => {
                    let done = done.expect("an enrolment does not panic");
                    let now = self.control.clock.now();
                    self.enrolled(done, now)?;
                }
                there = arrival(&mut self.moving) => self.arrives(there),
                Ok(()) = demanded.changed() => {}
                Ok(()) = consumers.changed() => {
                    let delay = report::delay(self.control.consumers.count());
                    self.report_at.get_or_insert(Instant::now() + delay);
                }
                Ok(()) = served.changed() => {
                    let newest = served.borrow_and_update().clone();
                    self.report_served(&newest)?;
                }
                () = at(report_at) => self.report_consumers()?,
                () = sleep_until(self.failures_at) => self.report_failures()?,
                () = at(save_at) => {}
                () = at(look_at) => {}
                () = at(ask_again_at) => self.ask_again_for_refused()?,
                () = sleep(nap) => {
                    let now = self.control.clock.now();
                    self.control.consumers.forget_expired(now);
                }
            }
        }
    }

    fn must_redial(&self, now: Timestamp) -> bool {
        let (Some((serial, life)), Some(node)) =
            (&self.dialled_with, self.control.installer.node())
        else {
            return false;
        };
        let spent = now.duration_since(life.issued_at).as_secs_f64();
        node.svid.serial != *serial && spent >= life.length().as_secs_f64() * REDIAL_AT
    }

    fn report_consumers(&mut self) -> Result<(), SessionError> {
        self.report_at = None;
        let report = report::consumers(&self.control.consumers);
        post(&self.outbox, FromNode::Consumers(report))
    }

    fn report_served(&mut self, newest: &Served) -> Result<(), SessionError> {
        for (id, (serial, first_seen)) in newest {
            if self
                .reported
                .get(id)
                .is_some_and(|(known, _)| known == serial)
            {
                continue;
            }
            let report = report::served(id, serial, *first_seen);
            post(&self.outbox, FromNode::Served(report))?;
        }
        self.reported.clone_from(newest);
        Ok(())
    }

    fn report_failures(&mut self) -> Result<(), SessionError> {
        self.failures_at = Instant::now() + FAILURES_EVERY;
        let failed = self.control.metrics.certificates_refused();
        if self.failures.replace(failed) == Some(failed) {
            return Ok(());
        }
        post(
            &self.outbox,
            FromNode::Handshakes(report::handshakes(failed)),
        )
    }

    fn ask(&self, request: DeltaRequest) -> Result<(), SessionError> {
        post(&self.outbox, FromNode::Delta(request.into()))
    }
}

fn post(outbox: &mpsc::Sender<NodeMessage>, message: FromNode) -> Result<(), SessionError> {
    let message = NodeMessage {
        message: Some(message),
    };
    outbox.try_send(message).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => SessionError::Stalled,
        mpsc::error::TrySendError::Closed(_) => SessionError::Closed,
    })
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
