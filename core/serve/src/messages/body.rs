//! The body of one call, message by message (the length-prefixed messages of gRPC over HTTP/2).
//!
//! It hands on no byte of a message before the message before it is complete, so whoever reads it
//! holds one message at most. A message that arrives whole costs nothing; one that does not is
//! charged by the length that it announces, before its first byte is handed on, and has a deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;

use super::budget::{Account, CallAccount, Charge, Exhausted};
use super::calls::Call;
use super::pieces::Pieces;
use super::sieve::{Fields, Sieve, SieveError};
use crate::limits::{MAX_MESSAGE_BYTES, SLOWEST_BYTES_PER_SEC};

/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// When what arrives is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// The whole body, counted from the beginning of the call: a call with one message.
    Whole,
    /// Each message, counted from its first byte; between two a stream may be silent.
    Each,
}

/// What of a message is under way.
#[derive(Debug)]
enum Part {
    /// So much of a prefix.
    Prefix(BytesMut),
    /// A message that is handed on as it comes, and how much of it is to come.
    Passing(usize),
    /// A message of which fields are left out, what is kept of it, and how much is to come.
    Sieving(Sieve, Pieces, usize),
}

impl Part {
    fn none() -> Self {
        Self::Prefix(BytesMut::new())
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::Prefix(prefix) if prefix.is_empty())
    }
}

/// The request body of one call.
#[derive(Debug)]
pub(super) struct Framed {
    body: Body,
    account: CallAccount,
    fields: Option<Fields>,
    deadline: Duration,
    pace: Pace,
    part: Part,
    /// Arrived, and not looked at.
    rest: Bytes,
    /// Of a message that is complete, to be handed on.
    complete: Pieces,
    charge: Option<Charge>,
    /// The call, which keeps its place as long as anybody reads.
    call: Arc<Call>,
    /// A message has begun: of a call with one message there is no other.
    has_begun: bool,
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The longest message since somebody asked.
    longest: usize,
}

impl Framed {
    pub(super) fn new(
        body: Body,
        account: CallAccount,
        fields: Option<Fields>,
        deadline: Duration,
        call: Arc<Call>,
    ) -> Self {
        Self {
            body,
            account,
            fields,
            deadline,
            pace: Pace::Whole,
            part: Part::none(),
            rest: Bytes::new(),
            complete: Pieces::default(),
            charge: None,
            call,
            has_begun: false,
            due: Some(Instant::now() + deadline),
            timer: None,
            longest: 0,
        }
    }

    /// Another account pays for what this body holds now, and for what the call will.
    ///
    /// # Errors
    /// The bound of that account that it would break.
    pub(super) fn move_to(&mut self, account: &Account) -> Result<(), Exhausted> {
        if let Some(charge) = &mut self.charge {
            charge.move_to(account)?;
        }
        self.call.move_to(account)?;
        self.account.change(account);
        Ok(())
    }

    /// From now on a stream: it may be silent between messages.
    pub(super) fn stream(&mut self) {
        self.pace = Pace::Each;
        if self.part.is_none() {
            self.due = None;
        }
    }

    /// The length of the longest message that was handed on since this was asked last.
    pub(super) fn longest(&mut self) -> usize {
        std::mem::take(&mut self.longest)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let has_all = self.rest.is_empty() && self.complete.is_empty() && self.part.is_none();
        has_all && self.body.is_end_stream()
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(bytes) = self.hand_on() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if !self.rest.is_empty() {
                match self.advance() {
                    Ok(Some(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                    Ok(None) => continue,
                    Err(status) => return Poll::Ready(Some(Err(self.end(status)))),
                }
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.poll_due(cx));
                let late = Status::deadline_exceeded("the message was not finished in time");
                return Poll::Ready(Some(Err(self.end(late))));
            };
            match frame {
                // Trailers say nothing to us, and are as long as a head may be.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                ended => {
                    self.charge = None;
                    return Poll::Ready(ended);
                }
            }
        }
    }

    /// The next piece of a message that is complete.
    fn hand_on(&mut self) -> Option<Bytes> {
        let (bytes, _) = self.complete.pop()?;
        if self.complete.is_empty() {
            self.charge = None;
        }
        Some(bytes)
    }

    /// Gives back what this body holds: nothing more of it is read.
    fn end(&mut self, status: Status) -> Status {
        self.body = Body::empty();
        self.rest = Bytes::new();
        self.complete = Pieces::default();
        self.part = Part::none();
        self.charge = None;
        status
    }

    /// Whether a message is late.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx)
    }

    /// Looks at what arrived, up to the end of one message; what of it is to be handed on.
    fn advance(&mut self) -> Result<Option<Bytes>, Status> {
        match std::mem::replace(&mut self.part, Part::none()) {
            Part::Prefix(prefix) => self.begin(prefix),
            Part::Passing(left) => {
                let bytes = self.rest.split_to(left.min(self.rest.len()));
                self.pass(left - bytes.len());
                Ok(Some(bytes))
            }
            Part::Sieving(sieve, kept, left) => self.sieve(sieve, kept, left),
        }
    }

    /// Reads on in a prefix, and begins its message.
    fn begin(&mut self, mut prefix: BytesMut) -> Result<Option<Bytes>, Status> {
        if prefix.is_empty() {
            match self.pace {
                Pace::Each => self.due = Some(Instant::now() + self.deadline),
                Pace::Whole if self.has_begun => {
                    return Err(Status::invalid_argument("this call has one message"));
                }
                Pace::Whole => {}
            }
            self.has_begun = true;
        }
        let missing = PREFIX_BYTES - prefix.len();
        let in_one_piece = prefix.is_empty() && self.rest.len() >= PREFIX_BYTES;
        if !in_one_piece {
            prefix.put(self.rest.split_to(missing.min(self.rest.len())));
            if prefix.len() < PREFIX_BYTES {
                self.part = Part::Prefix(prefix);
                return Ok(None);
            }
        }
        let head = if in_one_piece {
            &self.rest[..]
        } else {
            &prefix[..]
        };
        let is_compressed = head[0] != 0;
        let length = length_of([head[1], head[2], head[3], head[4]]);
        // Beyond that no call takes a message in, nor one that is compressed: the decoder of the
        // call says so, and reads no further.
        let is_taken = length <= MAX_MESSAGE_BYTES && !is_compressed;
        let here = self.rest.len() - if in_one_piece { PREFIX_BYTES } else { 0 };
        if let Some(fields) = self.fields.filter(|_| is_taken) {
            if in_one_piece {
                let _ = self.rest.split_to(PREFIX_BYTES);
            }
            self.slow_down(length);
            let mut kept = Pieces::default();
            kept.put(&[0; PREFIX_BYTES]);
            return self.sieve(Sieve::new(fields), kept, length);
        }
        self.longest = self.longest.max(length);
        if here < length && is_taken {
            self.charge(length)?;
        }
        self.slow_down(length);
        let passed = here.min(length);
        let bytes = if in_one_piece {
            self.rest.split_to(PREFIX_BYTES + passed)
        } else {
            prefix.freeze()
        };
        self.pass(length - if in_one_piece { passed } else { 0 });
        Ok(Some(bytes))
    }

    /// So much of a message that is handed on is still to come.
    fn pass(&mut self, left: usize) {
        if left == 0 {
            self.finished();
        } else {
            self.part = Part::Passing(left);
        }
    }

    /// Reads on in a message of which fields are left out.
    fn sieve(
        &mut self,
        mut sieve: Sieve,
        mut kept: Pieces,
        left: usize,
    ) -> Result<Option<Bytes>, Status> {
        let here = self.rest.split_to(left.min(self.rest.len()));
        let left = left - here.len();
        let max_bytes = self.fields.map_or(0, |fields| fields.max_bytes);
        let refused = |error: SieveError| Status::invalid_argument(error.to_string());
        sieve
            .take(&here, |bytes| {
                // One byte beyond the bound is enough to tell.
                let room = (PREFIX_BYTES + max_bytes + 1).saturating_sub(kept.len());
                kept.put(&bytes[..bytes.len().min(room)]);
            })
            .map_err(refused)?;
        let length = kept.len() - PREFIX_BYTES;
        if length > max_bytes {
            let reason = format!("a message is at most {max_bytes} bytes long");
            return Err(Status::out_of_range(reason));
        }
        if left > 0 {
            self.charge(kept.held())?;
            self.part = Part::Sieving(sieve, kept, left);
            return Ok(None);
        }
        if !sieve.is_whole() {
            return Err(refused(SieveError::Malformed));
        }
        self.longest = self.longest.max(length);
        let announced = u32::try_from(length).expect("at most as long as what was announced");
        let first = kept.first_mut().expect("it begins with the prefix");
        first[1..PREFIX_BYTES].copy_from_slice(&announced.to_be_bytes());
        self.complete = kept;
        self.finished();
        Ok(self.hand_on())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Status> {
        let charge = self.charge.get_or_insert_with(|| self.account.open());
        Ok(charge.resize(bytes)?)
    }

    /// A long message may take longer, as long as it comes at a speed that is worth waiting for.
    fn slow_down(&mut self, length: usize) {
        if let Some(due) = &mut self.due {
            let length = length.min(MAX_MESSAGE_BYTES) as u64;
            *due += Duration::from_secs(length / SLOWEST_BYTES_PER_SEC);
        }
    }

    /// A message is complete: it is its reader's as soon as that has all of it.
    fn finished(&mut self) {
        self.part = Part::none();
        if self.complete.is_empty() {
            self.charge = None;
        }
        if self.pace == Pace::Each {
            self.due = None;
        }
    }
}

fn length_of(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
}
