//! The discovery stream of one node: greet, then push what changes and take acknowledgements in.
//!
//! The stream ends with the node's credential, when the node is evicted or no longer recognised, when
//! a newer stream of the same node takes over, and when the control plane stops.

use std::sync::Arc;
use std::time::Duration;

use countersign_authority::Reached;
use countersign_discovery::{DeltaRequest, DeltaSession, Limits, Outcome};
use countersign_fleet::{Event, News, Reported, Subscriber};
use countersign_model::{EntitlementId, nap};
use countersign_proto::REBALANCE;
use countersign_proto::convert::serial;
use countersign_proto::mesh::{
    ControlMessage, ControlPlanes, Hello, NodeMessage, Rebalance, ServedReport, control_message,
    node_message,
};
use countersign_serve::messages::Messages;
use countersign_telemetry::{Principal, peer_line};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;
use tonic::Status;

use super::hello;
use super::resource_kinds::{self as kinds, Heard, KINDS, Viewer};
use super::session::{Session, Sessions, older};
use super::view::NodeView;
use crate::plane::Plane;

/// Responses that wait for the network on one stream.
pub(super) const MAX_QUEUED_RESPONSES: usize = 16;
/// A node says hello in this time or its stream ends.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// A node that reads nothing for this long loses its stream.
const SEND_DEADLINE: Duration = Duration::from_secs(10);

type Out = Sender<Result<ControlMessage, Status>>;

/// Serves the stream to its end.
pub(super) async fn run(
    plane: Arc<Plane>,
    sessions: Arc<Sessions>,
    session: Session,
    inbound: Messages<NodeMessage>,
    out: Out,
) {
    let node = session.node.id().clone();
    let subscriber = plane.hub.join(&node);
    plane.fleet.joined(&node, plane.clock.now());
    let principal = Principal::identity(node.as_str());
    peer_line!(INFO, principal, %node, "stream opened");
    let mut stream = NodeStream {
        plane: &plane,
        sessions: &sessions,
        session: &session,
        discovery: DeltaSession::new(Limits::default()),
        out: &out,
    };
    // Whatever it does at that moment: who reads nothing would hold it up.
    let ended = tokio::select! {
        biased;
        () = subscriber.evicted() => Err(Status::unauthenticated("this node was evicted")),
        ended = stream.serve(inbound, &subscriber) => ended,
    };
    drop(subscriber);
    plane.fleet.left(&node, plane.clock.now());
    match ended {
        Ok(()) => peer_line!(INFO, principal, %node, "stream closed"),
        Err(status) => {
            let (code, reason) = (status.code(), status.message());
            peer_line!(INFO, principal, %node, ?code, reason, "stream ended");
            // A node that reads nothing sees the end of the stream alone.
            let _ = timeout(Duration::from_secs(1), out.send(Err(status))).await;
        }
    }
}

struct NodeStream<'a> {
    plane: &'a Plane,
    sessions: &'a Sessions,
    session: &'a Session,
    discovery: DeltaSession,
    out: &'a Out,
}

impl<'a> NodeStream<'a> {
    async fn serve(
        &mut self,
        mut inbound: Messages<NodeMessage>,
        subscriber: &Subscriber,
    ) -> Result<(), Status> {
        let ours = hello::ours(self.plane.authority.stamp());
        self.send(control_message::Message::Hello(ours)).await?;
        let greeting = timeout(HELLO_DEADLINE, first_hello(&mut inbound)).await;
        let greeting = greeting.map_err(|_| Status::deadline_exceeded("no hello in time"))?;
        let greeting = greeting?;
        hello::check(greeting.as_ref())?;
        let greeting = greeting.unwrap_or_default();
        self.compare(&greeting).await?;
        let node = self.session.node.id();
        let Plane { fleet, spread, .. } = self.plane;
        fleet.enrols_ahead(node, greeting.enrol_ahead);
        let rebalances = greeting.capabilities.iter().any(|it| it == REBALANCE);
        fleet.rebalances(node, rebalances);
        if !spread.addresses().is_empty() {
            self.tell_control_planes().await?;
        }
        loop {
            let timer = self.nap()?;
            tokio::select! {
                message = inbound.next() => match message? {
                    Some(message) => self.handle(message)?,
                    None => return Ok(()),
                },
                news = subscriber.news() => {
                    self.look_at(&news);
                    self.tell(&news).await?;
                    if self.plane.signing.occupancy().0 > 0 {
                        // Of a batch that was signed together the others are about to be
                        // published: they go into the same response.
                        tokio::task::yield_now().await;
                        let more = subscriber.more_news();
                        self.look_at(&more);
                        self.tell(&more).await?;
                    }
                }
                () = subscriber.superseded() => {
                    return Err(Status::aborted("another stream of this node took over"));
                }
                () = self.plane.stopping.cancelled() => {
                    return Err(Status::unavailable("the control plane is stopping"));
                }
                () = self.plane.out.cancelled() => {
                    return Err(Status::unavailable("this control plane takes no part any more"));
                }
                () = tokio::time::sleep(timer) => continue,
            }
            self.push().await?;
        }
    }

    /// What the node has seen of us: a certificate is a proof, its word is an alarm. Where another control
    /// plane has shown it more than is known here, it is kept from going back.
    async fn compare(&self, hello: &Hello) -> Result<(), Status> {
        let Plane {
            authority, clock, ..
        } = self.plane;
        if authority.is_contradicted_by(&hello.newest_chain, clock.now()) {
            return Err(older());
        }
        let (node, own) = (self.session.node.id(), authority.stamp());
        if hello.epoch != own.epoch {
            return Ok(());
        }
        match authority.reach(hello.sequence).await {
            Reached::Here => Ok(()),
            Reached::NotYet => Err(Status::unavailable("this control plane is behind another")),
            Reached::Nowhere => {
                authority.said_newer(node, hello.sequence);
                Ok(())
            }
        }
    }

    /// A nap on the way to the end of the credential.
    fn nap(&self) -> Result<Duration, Status> {
        let good_until = self.sessions.good_until(self.session)?;
        // One second past NotAfter, so that the next look finds it expired.
        let left = nap(self.plane.clock.now(), good_until);
        Ok(left + Duration::from_secs(1))
    }

    fn handle(&mut self, message: NodeMessage) -> Result<(), Status> {
        match message.message {
            Some(node_message::Message::Delta(request)) => self.delta(&request.into()),
            Some(node_message::Message::Consumers(report)) => {
                let reported = Reported::read(report, self.plane.clock.now());
                let reported = reported.map_err(|e| Status::invalid_argument(e.to_string()))?;
                self.plane.fleet.reported(self.session.node.id(), reported);
                Ok(())
            }
            Some(node_message::Message::Served(report)) => self.served(&report),
            Some(node_message::Message::Handshakes(report)) => {
                self.handshakes_failed(report.failed);
                Ok(())
            }
            Some(node_message::Message::Hello(_)) => {
                Err(Status::invalid_argument("a hello comes first and once"))
            }
            // A message of a newer version: not understood, not harmful.
            None => Ok(()),
        }
    }

    fn delta(&mut self, request: &DeltaRequest) -> Result<(), Status> {
        let view = NodeView::of(&self.plane.authority, self.session.node.id());
        let outcomes = self.discovery.handle(request, &view);
        let outcomes = outcomes.map_err(|e| Status::invalid_argument(e.to_string()))?;
        outcomes.into_iter().for_each(|outcome| self.note(outcome));
        Ok(())
    }

    fn note(&self, outcome: Outcome) {
        match outcome {
            Outcome::Acknowledged {
                type_url,
                name,
                version,
            } => {
                let viewer = self.viewer();
                if let Some(kind) = kinds::of_name(&type_url, &name, viewer) {
                    let heard = Heard {
                        fleet: &self.plane.fleet,
                        now: self.plane.clock.now(),
                    };
                    kind.acknowledged(&name, &version, viewer, heard);
                }
            }
            Outcome::Refused {
                type_url,
                names,
                nack,
            } => {
                self.plane.metrics.nack(nack.reason);
                let (node, count) = (self.session.node.id(), names.len());
                let principal = Principal::identity(node.as_str());
                peer_line!(WARN, principal, %node, type_url, count, %nack, "update refused by node");
            }
            Outcome::Subscribed { .. } | Outcome::Unsubscribed { .. } => {}
        }
    }

    fn viewer(&self) -> Viewer<'a> {
        Viewer {
            authority: &self.plane.authority,
            node: self.session.node.id(),
        }
    }

    fn served(&self, report: &ServedReport) -> Result<(), Status> {
        let wrong = |_| Status::invalid_argument("not a serial of ours");
        let serial = serial("served.serial", &report.serial).map_err(wrong)?;
        if let Some(entitlement) = EntitlementId::parse(&report.entitlement) {
            let node = self.session.node.id();
            self.plane.note_seen(node, &entitlement, serial);
            self.plane.fleet.served(node, entitlement, serial);
        }
        Ok(())
    }

    fn handshakes_failed(&self, total: u64) {
        let Plane {
            fleet,
            rotation,
            clock,
            ..
        } = self.plane;
        let node = self.session.node.id();
        let more = fleet.handshakes_failed(node, total);
        if more > 0 {
            rotation.failed(node, more, clock.now());
        }
    }

    /// Touches what changed; where anything may have changed, every name that the node may see.
    fn look_at(&mut self, news: &News) {
        let viewer = self.viewer();
        for kind in KINDS {
            let mut touch = |name: &str| self.discovery.touch(kind.type_url(), name);
            let events = news.events.iter();
            events.for_each(|event| kind.touched(event, viewer, &mut touch));
            if news.everything {
                let names = kind.names(viewer);
                names.iter().for_each(|name| touch(name));
            }
        }
    }

    /// What is no resource: where the control planes are, and that another one has fewer streams.
    async fn tell(&self, news: &News) -> Result<(), Status> {
        if news.everything || news.events.contains(&Event::ControlPlanes) {
            self.tell_control_planes().await?;
        }
        if let Some(address) = news.elsewhere.clone() {
            self.send(control_message::Message::Rebalance(Rebalance { address }))
                .await?;
        }
        Ok(())
    }

    async fn tell_control_planes(&self) -> Result<(), Status> {
        let addresses = self.plane.spread.addresses().to_vec();
        let told = ControlPlanes { addresses };
        self.send(control_message::Message::ControlPlanes(told))
            .await
    }

    async fn push(&mut self) -> Result<(), Status> {
        loop {
            let view = NodeView::of(&self.plane.authority, self.session.node.id());
            let Some(response) = self.discovery.poll_touched(&view) else {
                return Ok(());
            };
            self.send(control_message::Message::Delta(response.into()))
                .await?;
        }
    }

    async fn send(&self, message: control_message::Message) -> Result<(), Status> {
        let message = ControlMessage {
            message: Some(message),
        };
        let sent = timeout(SEND_DEADLINE, self.out.send(Ok(message))).await;
        let sent = sent.map_err(|_| Status::deadline_exceeded("the node reads nothing"))?;
        sent.map_err(|_| Status::cancelled("the node went away"))
    }
}

async fn first_hello(inbound: &mut Messages<NodeMessage>) -> Result<Option<Hello>, Status> {
    match inbound.next().await?.and_then(|message| message.message) {
        Some(node_message::Message::Hello(hello)) => Ok(Some(hello)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod footprint;
