//! One Workload API stream: the caller's state now, then again whenever it changed.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use countersign_model::Serial;
use countersign_serve::messages::CallPayer;
use countersign_serve::places::Standing;
use countersign_telemetry::{Principal, peer_line};
use futures_util::Stream;
use jiff::Timestamp;
use tokio::time::timeout;
use tonic::Status;

use super::reply::{Content, Handout, MAX_REPLY_BYTES, MAX_SVIDS, Reply};
use crate::attest::Caller;
use crate::consumers::{ConsumerKind, ConsumerStream, MAX_SERIALS};
use crate::holdings::{Followed, Follower, Interest};
use crate::local_api::{LocalApi, LocalCaller, StreamPermit, in_doubt};

/// How long a caller that is entitled waits for its first credential before UNAVAILABLE.
pub(crate) const FIRST_SVID_DEADLINE: Duration = Duration::from_secs(5);

pub(super) struct Updates<R> {
    api: Arc<LocalApi>,
    caller: Caller,
    follower: Follower,
    /// Made when the stream opened; sent first.
    first: Option<Composed<R>>,
    sent: Content,
    /// How many identities had no room in the last message.
    left_out: usize,
    /// Handed to the transport when the stream is asked for the next message.
    in_flight: Option<Delivery>,
    connection: ConsumerStream,
    cost: StreamCost,
    _reply: PhantomData<fn() -> R>,
}

/// What a stream costs its user.
pub(super) struct StreamCost {
    pub(super) permit: StreamPermit,
    pub(super) payer: Option<CallPayer>,
    /// Whose connection it is on.
    pub(super) local: LocalCaller,
}

struct Composed<R> {
    message: R,
    content: Content,
    left_out: usize,
    delivery: Delivery,
}

/// What the record of consumers learns once a message is on its way.
struct Delivery {
    bundle: String,
    bundle_version: String,
    credential_end: Option<Timestamp>,
    serials: Vec<Serial>,
}

/// What can be said to a caller now.
enum Turn<R> {
    Message(Composed<R>),
    /// Part of it is there; worth sending once the wait is over.
    Partial(Composed<R>),
    /// Nothing is there yet.
    Wait,
    Denied,
    /// Nothing can be said of the caller now.
    InDoubt,
}

impl<R: Reply> Updates<R> {
    /// Waits for the first message, at most [`FIRST_SVID_DEADLINE`].
    pub(super) async fn open(
        api: Arc<LocalApi>,
        mut caller: Caller,
        cost: StreamCost,
    ) -> Result<Self, Status> {
        let follower = api.holdings.follow();
        let first = first_message::<R>(&api, &mut caller, &follower).await?;
        let id = format!("{}:{}", R::CONSUMER, caller.process_name());
        let (kind, bundle) = (ConsumerKind::WorkloadApi, Some(&*first.delivery.bundle));
        let connection = api.connect(&caller, &id, kind, bundle)?;
        let mut updates = Self {
            api,
            caller,
            follower,
            sent: first.content,
            first: Some(first),
            left_out: 0,
            in_flight: None,
            connection,
            cost,
            _reply: PhantomData,
        };
        updates.settle()?;
        Ok(updates)
    }

    /// Its connection has the place that its caller has a right to.
    fn settle(&mut self) -> Result<(), Status> {
        let StreamCost {
            permit,
            payer,
            local,
        } = &mut self.cost;
        local.place.change(self.caller.holder());
        if self.caller.has_identity() {
            permit.admit_as(self.caller.holder())?;
        }
        if let Some(payer) = payer
            && local.place.standing() == Standing::Recognised
        {
            payer.move_to(&self.api.account_of(local))?;
        }
        Ok(())
    }

    pub(super) fn into_messages(self) -> impl Stream<Item = Result<R, Status>> + Send {
        futures_util::stream::unfold(Some(self), |updates| async move {
            let mut updates = updates?;
            match updates.next().await {
                Ok(message) => Some((Ok(message), Some(updates))),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<R, Status> {
        self.note_delivery();
        let composed = match self.first.take() {
            Some(first) => first,
            None => self.changed().await?,
        };
        self.tell_left_out(composed.left_out);
        self.sent = composed.content;
        self.in_flight = Some(composed.delivery);
        Ok(composed.message)
    }

    /// Says once, and again when it changes, that a caller has more identities than it is handed.
    fn tell_left_out(&mut self, left_out: usize) {
        if std::mem::replace(&mut self.left_out, left_out) == left_out || left_out == 0 {
            return;
        }
        let peer = self.caller.peer();
        peer_line!(
            WARN,
            Principal::uid(peer.uid),
            uid = peer.uid,
            pid = peer.pid,
            identities_left_out = left_out,
            most = MAX_SVIDS,
            most_bytes = MAX_REPLY_BYTES,
            "a caller has more identities than one message can hold: the last by rank are left out"
        );
    }

    /// Waits for other content than was sent.
    async fn changed(&mut self) -> Result<Composed<R>, Status> {
        loop {
            self.api.changed(&self.follower).await?;
            let following = (&mut self.caller, &self.follower);
            let turn = turn::<R>(&self.api, following, Some(self.sent)).await;
            self.settle()?;
            match turn {
                Turn::Message(composed) | Turn::Partial(composed) => return Ok(composed),
                Turn::Wait => {}
                Turn::Denied => return Err(denied()),
                Turn::InDoubt => return Err(in_doubt()),
            }
        }
    }

    /// There is no acknowledgement in this API: the transport took the last message in, since it
    /// asks for the next one.
    fn note_delivery(&mut self) {
        let Some(delivery) = self.in_flight.take() else {
            return;
        };
        let now = self.api.now();
        self.connection.note(|consumer| {
            if consumer.bundle_version.as_deref() != Some(&delivery.bundle_version) {
                consumer.bundle_version = Some(delivery.bundle_version);
                consumer.delivered_at = Some(now);
            }
            consumer.credential_not_after =
                consumer.credential_not_after.max(delivery.credential_end);
            consumer.serials = delivery.serials;
        });
    }
}

async fn first_message<R: Reply>(
    api: &LocalApi,
    caller: &mut Caller,
    follower: &Follower,
) -> Result<Composed<R>, Status> {
    let complete = async {
        loop {
            match turn::<R>(api, (caller, follower), None).await {
                Turn::Message(composed) => return Ok(composed),
                Turn::Denied => return Err(denied()),
                Turn::InDoubt => return Err(in_doubt()),
                Turn::Partial(_) | Turn::Wait => {}
            }
            api.changed(follower).await?;
        }
    };
    match timeout(FIRST_SVID_DEADLINE, complete).await {
        Ok(first) => first,
        Err(_) => match turn::<R>(api, (caller, follower), None).await {
            Turn::Message(composed) | Turn::Partial(composed) => Ok(composed),
            Turn::Denied => Err(denied()),
            Turn::InDoubt => Err(in_doubt()),
            Turn::Wait if api.holdings.load().knows_rights() => Err(starting()),
            Turn::Wait => Err(unconnected()),
        },
    }
}

/// Judges the caller again if its rights changed or it would be sent something, and composes what
/// differs from `sent`.
async fn turn<R: Reply>(
    api: &LocalApi,
    (caller, follower): (&mut Caller, &Follower),
    sent: Option<Content>,
) -> Turn<R> {
    // First: what is published from here on is another change.
    follower.take_due();
    let snapshot = api.holdings.load();
    let now = api.now();
    let differs = |caller: &Caller| {
        let handout = Handout::new(&snapshot, caller, now);
        handout.is_none_or(|handout| Some(R::content(&handout)) != sent)
    };
    if caller.is_outdated(&snapshot) || differs(caller) {
        // Boxed: what it needs takes no room in a stream that sleeps.
        Box::pin(caller.attest_again(&snapshot)).await;
    }
    follower.follow(interest::<R>(caller), snapshot.generation);
    if caller.is_in_doubt() {
        return Turn::InDoubt;
    }
    let Some(handout) = Handout::new(&snapshot, caller, now) else {
        return match snapshot.knows_rights() {
            true => Turn::Denied,
            false => Turn::Wait,
        };
    };
    if !R::is_complete(&handout) {
        api.demand(handout.missing().map(|entitlement| &entitlement.id));
    }
    let content = R::content(&handout);
    if !R::is_possible(&handout) || sent == Some(content) {
        return Turn::Wait;
    }
    let composed = Composed {
        message: R::compose(&handout),
        content,
        left_out: handout.left_out(),
        delivery: Delivery {
            bundle: handout.bundle.trust_domain().id().to_string(),
            bundle_version: handout.bundle.version().to_owned(),
            credential_end: handout.credential_end(),
            serials: match R::HOLDS_CREDENTIALS {
                true => handout.serials().take(MAX_SERIALS).collect(),
                false => Vec::new(),
            },
        },
    };
    match (R::is_complete(&handout), handout.has_default(), sent) {
        (true, ..) => Turn::Message(composed),
        (false, true, _) | (false, _, Some(_)) => Turn::Partial(composed),
        (false, false, None) => Turn::Wait,
    }
}

/// What changes anything for this caller.
fn interest<R: Reply>(caller: &Caller) -> Interest {
    if !caller.is_judged() {
        return Interest::Everything;
    }
    Interest::Only(Followed {
        bundle: true,
        rights: true,
        entitlements: match R::HOLDS_CREDENTIALS {
            true => caller.admitted_ids(),
            false => Arc::default(),
        },
        ..Followed::default()
    })
}

fn denied() -> Status {
    Status::permission_denied("no identity issued")
}

fn starting() -> Status {
    Status::unavailable("the identity is not there yet")
}

fn unconnected() -> Status {
    Status::unavailable("the sidecar has not reached its control plane since it started")
}
