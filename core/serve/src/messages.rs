//! What a caller may send: one mechanism for every gRPC server of both daemons.
//!
//! A caller has a number of places for its calls, each held until the last byte of the answer has left.
//! Of a head is kept what somebody reads. A message is finished in time or its call ends, and what
//! unfinished messages and unread answers hold is bounded: a share of each caller, a budget of the
//! process. [`MessageBounds`] is the layer that [`grpc::Server`](crate::grpc::Server) puts around every
//! service; the longest message of a call is set on its service, and refused at the length that stands
//! before it.

mod answer;
mod body;
mod budget;
mod calls;
mod encoded;
mod head;
mod intake;
mod pieces;
mod sieve;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

pub use budget::{Account, ByteBudget, Charge, Exhausted, Payer, Shares};
pub use encoded::{Unsaid, encoded};
pub use sieve::Fields;
pub use stream::{MAX_KEPT_BYTES, Messages};

use crate::limits::MESSAGE_DEADLINE;
use crate::tls::TlsPeer;
use crate::unix::UnixPeer;
use answer::Answer;
use body::Framed;
use budget::CallAccount;
use calls::{Call, Calls};
use encoded::Encoded;
pub(crate) use intake::Intakes;

/// Bounds what the callers of a server send.
#[derive(Clone)]
pub struct MessageBounds(Arc<Rules>);

struct Rules {
    account: Box<dyn Fn(&Extensions) -> Account + Send + Sync>,
    fields: fn(&str) -> Option<Fields>,
    deadline: Duration,
    calls: Calls,
    call_bytes: usize,
}

impl MessageBounds {
    /// Every caller pays for itself: an identity, the source of a stranger, or a local user.
    pub fn new(shares: Shares) -> Self {
        let budget = ByteBudget::new(shares);
        Self::paid_by(move |extensions| budget.account(payer(extensions)))
    }

    /// As [`new`](Self::new), with the account of a call told by `account` from the extensions of
    /// its request.
    pub fn paid_by(account: impl Fn(&Extensions) -> Account + Send + Sync + 'static) -> Self {
        Self(Arc::new(Rules {
            account: Box::new(account),
            fields: |_| None,
            deadline: MESSAGE_DEADLINE,
            calls: Calls::new(),
            call_bytes: 0,
        }))
    }

    /// Has each call paid for with so many bytes, beside what it says and is answered.
    #[must_use]
    pub fn calls_cost(self, bytes: usize) -> Self {
        self.changed(|rules| rules.call_bytes = bytes)
    }

    /// Leaves out of a call's messages the fields that nobody reads: `fields` is told the path of
    /// the call and says which are kept, or `None` for all.
    #[must_use]
    pub fn sieved(self, fields: fn(&str) -> Option<Fields>) -> Self {
        self.changed(|rules| rules.fields = fields)
    }

    fn changed(self, change: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = Arc::into_inner(self.0).expect("not in use yet");
        change(&mut rules);
        Self(Arc::new(rules))
    }
}

impl fmt::Debug for MessageBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBounds").finish_non_exhaustive()
    }
}

/// Who pays for a call, by its connection.
fn payer(extensions: &Extensions) -> Payer {
    if let Some(peer) = extensions.get::<UnixPeer>() {
        return Payer::Uid(peer.uid);
    }
    match extensions.get::<TlsPeer>() {
        Some(TlsPeer {
            svid: Some(svid), ..
        }) => Payer::Identity(svid.id.clone()),
        Some(peer) => Payer::source(peer.address.ip()),
        None => Payer::unknown(),
    }
}

impl<S> Layer<S> for MessageBounds {
    type Service = Bounded<S>;
    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded {
            inner,
            bounds: self.clone(),
        }
    }
}

/// A service whose callers' messages are bounded.
#[derive(Clone, Debug)]
pub struct Bounded<S> {
    inner: S,
    bounds: MessageBounds,
}

impl<S> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let rules = &self.bounds.0;
        let (head, body) = request.into_parts();
        let mut head = head::kept(head);
        let account = (rules.account)(&head.extensions);
        let Some(place) = rules.calls.enter(account.payer()) else {
            let full = Status::resource_exhausted("too many calls at once; try again later");
            return Box::pin(ready(Ok(full.into_http())));
        };
        let call = match Call::begin(place, &account, rules.call_bytes) {
            Ok(call) => Arc::new(call),
            Err(exhausted) => return Box::pin(ready(Ok(Status::from(exhausted).into_http()))),
        };
        let fields = (rules.fields)(head.uri.path());
        let payer = account.payer().clone();
        let account = CallAccount::new(account);
        // A connection of our server takes in what it brings.
        let body = match head.extensions.remove::<Intakes>() {
            Some(intakes) => intakes.take_in(body, account.clone(), &payer),
            None => body,
        };
        let framed = Framed::new(body, account.clone(), fields, rules.deadline, call.clone());
        let body = SharedBody(Arc::new(Mutex::new(framed)));
        // Whoever takes messages from a stream finds it there.
        head.extensions.insert(body.clone());
        let answer = self.inner.call(Request::from_parts(head, Body::new(body)));
        Box::pin(async move {
            let (mut head, body) = answer.await?.into_parts();
            let encoded = head.extensions.remove::<Encoded>();
            let body = encoded.and_then(|it| it.take()).unwrap_or(body);
            let body = Body::new(Answer::new(body, account, &payer, call));
            Ok(Response::from_parts(head, body))
        })
    }
}

/// Who pays for a call whose messages are not read from a stream.
#[derive(Clone, Debug)]
pub struct CallPayer(SharedBody);

impl CallPayer {
    /// Of the call that this is a part of; `None` where nobody asks who pays.
    pub fn of(call: &Extensions) -> Option<Self> {
        call.get().cloned().map(Self)
    }

    /// Another account pays from now on for the call and for its answers.
    ///
    /// # Errors
    /// The bound of that account that they would break.
    pub fn move_to(&self, account: &Account) -> Result<(), Exhausted> {
        self.0.lock().move_to(account)
    }
}

/// The body of a call, shared between the request and who reads its messages.
#[derive(Clone, Debug)]
struct SharedBody(Arc<Mutex<Framed>>);

impl SharedBody {
    fn lock(&self) -> MutexGuard<'_, Framed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.lock().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }
}
