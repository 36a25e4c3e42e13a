//! A way to a control plane on which anything can happen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What happens on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Everything passes.
    Open,
    /// Connections stay open and new ones are made, and nothing passes.
    Frozen,
    /// Nothing passes that comes from the control plane.
    Mute,
    /// Nothing passes that goes to it.
    Deaf,
    /// Everything passes, after [`DELAY`].
    Slow,
    /// Everything passes, one after another: a connection takes [`GREETING`], and each piece that it carries
    /// [`PIECE`].
    Busy,
    /// Connections are reset, new ones too.
    Reset,
}

/// What a slow way takes in each direction: longer, there and back, than a ping may take at first.
const DELAY: Duration = Duration::from_millis(500);
/// What a busy one takes for a connection.
const GREETING: Duration = Duration::from_millis(300);
/// What it takes for what is said on one.
const PIECE: Duration = Duration::from_millis(1);

impl Way {
    fn is_open(self, direction: Way) -> bool {
        matches!(self, Self::Open | Self::Slow | Self::Busy) || self == direction
    }
}

/// A relay in front of a control plane.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    way: watch::Sender<Way>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(super) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, now) = watch::channel(Way::Open);
        let accepted = Arc::<AtomicUsize>::default();
        let task = tokio::spawn(accept(listener, target, now, Arc::clone(&accepted)));
        Self {
            address,
            way,
            accepted,
            task,
        }
    }

    pub(super) fn becomes(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Connections so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// From now on nobody listens, and what was open is reset.
    pub(super) fn refuse(&self) {
        self.becomes(Way::Reset);
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    now: watch::Receiver<Way>,
    accepted: Arc<AtomicUsize>,
) {
    let way = Passage {
        now,
        turn: Arc::default(),
    };
    loop {
        let (near, _) = listener.accept().await.unwrap();
        accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(carry(near, target, way.clone()));
    }
}

/// The way, and the turn of those who take it while it is busy.
#[derive(Clone)]
struct Passage {
    now: watch::Receiver<Way>,
    turn: Arc<Mutex<()>>,
}

impl Passage {
    /// Waits until this direction is open, and as long as passing takes; whether there is a way at all.
    async fn pass(&mut self, direction: Way) -> bool {
        if self
            .now
            .wait_for(|way| way.is_open(direction))
            .await
            .is_err()
        {
            return false;
        }
        let now = *self.now.borrow();
        match now {
            Way::Slow => sleep(DELAY).await,
            Way::Busy => self.take(PIECE).await,
            _ => {}
        }
        true
    }

    async fn take(&self, time: Duration) {
        let _turn = self.turn.lock().await;
        sleep(time).await;
    }
}

async fn carry(near: TcpStream, target: SocketAddr, mut way: Passage) {
    // What is dropped is reset, not ended.
    near.set_zero_linger().unwrap();
    let is_busy = *way.now.borrow() == Way::Busy;
    if is_busy {
        way.take(GREETING).await;
    }
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    let (up, down) = (way.clone(), way.clone());
    let carried = async {
        tokio::join!(
            copy(from_near, to_far, up, Way::Mute),
            copy(from_far, to_near, down, Way::Deaf),
        )
    };
    tokio::select! {
        _ = carried => {}
        _ = way.now.wait_for(|way| *way == Way::Reset) => {}
    }
}

/// `direction` is what leaves this one open and closes the other.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: Passage, direction: Way) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let is_over = !way.pass(direction).await;
        if is_over || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
