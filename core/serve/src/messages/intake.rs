//! Takes in what a connection brings, whether its reader reads or not.
//!
//! HTTP/2 keeps a piece of a body in the buffer that it came in, with all that came beside it: 172 bytes
//! that nobody reads hold 8 kB. A call whose answer is not read reads no more of its request, so a
//! caller can have many of them. So the task of the connection itself takes every piece in, as a copy
//! that the caller pays for, and gives it to the reader from there.

mod waker;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;

use super::budget::{CallAccount, Charge, Payer};
use super::pieces::Pieces;
use crate::limits::LOCAL_FREE_BYTES;
use waker::IntakeWaker;

/// So much of a call of a peer on TCP waits without a charge: an attestation that comes whole.
const FREE_BYTES: usize = 17 * 1024;

/// The bodies of one connection that are taken in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intakes {
    bodies: Arc<Mutex<FuturesUnordered<Intake>>>,
    waker: Arc<IntakeWaker>,
}

impl Intakes {
    /// A body that is read from what was taken in of `body`.
    pub(super) fn take_in(&self, body: Body, account: CallAccount, payer: &Payer) -> Body {
        let free = match payer {
            Payer::Source(_) | Payer::Identity(_) => FREE_BYTES,
            _ => LOCAL_FREE_BYTES,
        };
        let taken = Arc::new(Mutex::new(Taken {
            body,
            account,
            free,
            waiting: Pieces::default(),
            handed_on: 0,
            charge: None,
            ended: None,
            reader: None,
            intake: None,
        }));
        lock(&self.bodies).push(Intake(Arc::downgrade(&taken)));
        Body::new(TakenIn(taken))
    }

    /// Takes in what `bring` brings, and what has come before. Called by the task of the connection
    /// whenever it runs.
    pub(crate) fn take_in_after<T>(
        &self,
        cx: &mut Context<'_>,
        bring: impl FnOnce(&mut Context<'_>) -> T,
    ) -> T {
        self.waker.begin(cx);
        let brought = bring(cx);
        let mut bodies = lock(&self.bodies);
        self.waker.look(|cx| {
            while let Some(()) = ready!(bodies.poll_next_unpin(cx)) {}
            Poll::Ready(())
        });
        brought
    }
}

/// What was taken in of one body.
struct Taken {
    body: Body,
    account: CallAccount,
    /// So much is not charged.
    free: usize,
    waiting: Pieces,
    /// What its reader got last, and may have still.
    handed_on: usize,
    charge: Option<Charge>,
    /// How the body ended.
    ended: Option<Option<Status>>,
    reader: Option<Waker>,
    intake: Option<Waker>,
}

impl Taken {
    /// Takes in all that is there; ready at the end of the body.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ended.is_none() {
            let taken = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.keep(&frame.into_data().unwrap_or_default()),
                Some(Err(status)) => Err(status),
                None => {
                    self.end(None);
                    break;
                }
            };
            if let Err(status) = taken {
                self.waiting = Pieces::default();
                self.charge = None;
                self.end(Some(status));
            }
        }
        Poll::Ready(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Status> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.waiting.put(bytes);
        self.pay()?;
        self.wake_reader();
        Ok(())
    }

    fn pay(&mut self) -> Result<(), Status> {
        let held = self.waiting.held() + self.handed_on;
        if held <= self.free {
            self.charge = None;
            return Ok(());
        }
        let charge = self.charge.get_or_insert_with(|| self.account.open());
        Ok(charge.resize(held)?)
    }

    fn end(&mut self, status: Option<Status>) {
        self.body = Body::empty();
        self.ended = Some(status);
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The next piece that waits, for a reader that has done with what it got before.
    fn poll_read(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let (piece, held) = self.waiting.pop().unwrap_or_default();
        self.handed_on = held;
        // It holds no more than before, so there is room for it.
        let _ = self.pay();
        if !piece.is_empty() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if let Some(ended) = &mut self.ended {
            return Poll::Ready(ended.take().map(Err));
        }
        match &mut self.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            None => self.reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// The side of the connection: takes in until the end, or until nobody can read it any more.
#[derive(Debug)]
struct Intake(Weak<Mutex<Taken>>);

impl Future for Intake {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(taken) = self.0.upgrade() else {
            return Poll::Ready(());
        };
        let mut taken = lock(&taken);
        match &mut taken.intake {
            Some(intake) => intake.clone_from(cx.waker()),
            None => taken.intake = Some(cx.waker().clone()),
        }
        taken.poll_take(cx)
    }
}

/// The side of the reader.
struct TakenIn(Arc<Mutex<Taken>>);

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").finish_non_exhaustive()
    }
}

impl Drop for TakenIn {
    fn drop(&mut self) {
        let mut taken = lock(&self.0);
        // HTTP/2 tells the peer that nobody reads, and the intake goes.
        taken.end(None);
        taken.waiting = Pieces::default();
        taken.charge = None;
        if let Some(intake) = taken.intake.take() {
            intake.wake();
        }
    }
}

impl HttpBody for TakenIn {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        lock(&self.0)
            .poll_read(cx)
            .map(|read| read.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        let taken = lock(&self.0);
        taken.waiting.is_empty() && matches!(taken.ended, Some(None))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
