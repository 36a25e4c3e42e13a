//! A way to a control plane on which anything can happen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
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
    /// Connections are reset, new ones too.
    Reset,
}

/// What a slow way takes in each direction: longer, there and back, than a ping may take at first.
const DELAY: Duration = Duration::from_millis(500);

impl Way {
    fn is_open(self, direction: Way) -> bool {
        matches!(self, Self::Open | Self::Slow) || self == direction
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
    way: watch::Receiver<Way>,
    accepted: Arc<AtomicUsize>,
) {
    loop {
        let (near, _) = listener.accept().await.unwrap();
        accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(carry(near, target, way.clone()));
    }
}

async fn carry(near: TcpStream, target: SocketAddr, mut way: watch::Receiver<Way>) {
    // What is dropped is reset, not ended.
    near.set_zero_linger().unwrap();
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
        _ = way.wait_for(|way| *way == Way::Reset) => {}
    }
}

/// `direction` is what leaves this one open and closes the other.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    direction: Way,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let is_over = way.wait_for(|way| way.is_open(direction)).await.is_err();
        let is_slow = *way.borrow() == Way::Slow;
        if is_slow {
            sleep(DELAY).await;
        }
        if is_over || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
