//! One direction of a connection: bytes in order, each piece with the moment at which it arrives.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::Network;

/// Bytes under way in one direction: the window of TCP.
const WINDOW: usize = 256 * 1024;

/// From one host to another.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    flow: Mutex<Flow>,
}

#[derive(Debug, Default)]
struct Flow {
    pieces: VecDeque<Piece>,
    under_way: usize,
    /// The sender has said its last.
    is_ended: bool,
    is_reset: bool,
    newest: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct Piece {
    /// `None` while the way is cut.
    due: Option<Instant>,
    /// The end, where it is empty.
    bytes: Vec<u8>,
    read: usize,
}

/// What a reader finds.
pub(super) enum Found {
    /// Something, or the end.
    Ready(io::Result<()>),
    /// Nothing before that moment; `None`: before it is woken.
    Later(Option<Instant>),
}

impl Pipe {
    pub(super) fn new(from: IpAddr, to: IpAddr) -> Arc<Self> {
        Arc::new(Self {
            from,
            to,
            flow: Mutex::default(),
        })
    }

    /// Puts bytes on their way; nothing where the window is full.
    pub(super) fn poll_send(
        &self,
        network: &Network,
        bytes: &[u8],
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut flow = self.flow();
        if flow.is_reset || flow.is_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = bytes.len().min(WINDOW - flow.under_way);
        if taken == 0 && !bytes.is_empty() {
            flow.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        flow.under_way += taken;
        let due = network.arrival(self.from, self.to, flow.newest);
        flow.push(due, bytes[..taken].to_vec());
        Poll::Ready(Ok(taken))
    }

    /// The sender has said its last.
    pub(super) fn end(&self, network: &Network) {
        let mut flow = self.flow();
        if !std::mem::replace(&mut flow.is_ended, true) {
            let due = network.arrival(self.from, self.to, flow.newest);
            flow.push(due, Vec::new());
        }
    }

    /// Both ends find it broken, at once.
    pub(super) fn reset(&self) {
        let mut flow = self.flow();
        flow.is_reset = true;
        flow.pieces.clear();
        flow.wake();
    }

    /// What was held up by a cut goes on.
    pub(super) fn heal(&self, network: &Network) {
        let mut flow = self.flow();
        let mut newest = flow.newest;
        for piece in flow.pieces.iter_mut().filter(|piece| piece.due.is_none()) {
            piece.due = network.arrival(self.from, self.to, newest);
            newest = piece.due.or(newest);
        }
        flow.newest = newest;
        flow.wake();
    }

    /// Whether something has arrived that nobody has read.
    pub(super) fn has_arrived(&self) -> bool {
        let flow = self.flow();
        let due = flow.pieces.front().and_then(|piece| piece.due);
        due.is_some_and(|due| due <= Instant::now())
    }

    pub(super) fn receive(&self, buffer: &mut ReadBuf<'_>, cx: &Context<'_>) -> Found {
        let (mut flow, now) = (self.flow(), Instant::now());
        if flow.is_reset {
            return Found::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut has_read = false;
        while let Some(piece) = flow.pieces.front_mut() {
            if buffer.remaining() == 0 || piece.due.is_none_or(|due| due > now) {
                break;
            }
            if piece.bytes.is_empty() {
                // The end stays, for whoever reads again.
                return Found::Ready(Ok(()));
            }
            let left = &piece.bytes[piece.read..];
            let count = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..count]);
            piece.read += count;
            has_read = true;
            let is_read = piece.read == piece.bytes.len();
            flow.under_way -= count;
            if is_read {
                flow.pieces.pop_front();
            }
        }
        if has_read {
            flow.writer.take().into_iter().for_each(Waker::wake);
            return Found::Ready(Ok(()));
        }
        flow.reader = Some(cx.waker().clone());
        Found::Later(flow.pieces.front().and_then(|piece| piece.due))
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    fn push(&mut self, due: Option<Instant>, bytes: Vec<u8>) {
        self.newest = due.or(self.newest);
        self.pieces.push_back(Piece {
            due,
            bytes,
            read: 0,
        });
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
        self.writer.take().into_iter().for_each(Waker::wake);
    }
}
