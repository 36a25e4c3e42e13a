//! The way to a server, on which a test lets things happen: a proxy on loopback.
//!
//! Each connection has two threads, one a direction. What a test says is a [`State`], which they all
//! look at before they forward anything.

mod connection;
mod frontend;

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use connection::Connection;

use crate::cluster::Cluster;
use crate::wait;

/// A proxy before one server. It forwards everything, until a test says otherwise; with it end its
/// connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    told: Arc<Told>,
}

/// What the threads of a proxy share.
#[derive(Debug)]
struct Told {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    way: Way,
    delay: Duration,
    /// What becomes of the next commit.
    cut: Option<Cut>,
    cuts: usize,
    commits: usize,
    is_listening: bool,
    has_ended: bool,
    connections: Vec<Arc<Connection>>,
}

/// What happens to connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    /// They go to the server.
    #[default]
    Open,
    /// They are there, and nothing is forwarded.
    BlackHole,
    /// The server hears its clients, and they hear nothing.
    AnswersHeld,
    /// No new one is taken.
    Refused,
}

/// When a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    BeforeCommit,
    AfterCommit,
}

impl Proxy {
    /// Begins one before a server.
    ///
    /// # Panics
    /// There is no port for it.
    #[must_use]
    pub fn before(cluster: &Cluster) -> Self {
        Self::to(cluster.address())
    }

    /// Begins one before an address.
    ///
    /// # Panics
    /// There is no port for it.
    #[must_use]
    pub fn to(server: SocketAddr) -> Self {
        let address = countersign_ports::reserve();
        let told = Arc::new(Told {
            server,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let proxy = Self { address, told };
        let told = Arc::clone(&proxy.told);
        std::thread::spawn(move || told.take_connections(address));
        proxy.told.wait_until(|state| state.is_listening);
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards everything again, at once. What stayed in a black hole goes on.
    pub fn pass(&self) {
        self.told.change(|state| {
            state.way = Way::Open;
            state.delay = Duration::ZERO;
        });
        self.told.wait_until(|state| state.is_listening);
    }

    /// Takes connections, keeps those that it has, and forwards nothing, in neither direction.
    pub fn black_hole(&self) {
        self.told.change(|state| state.way = Way::BlackHole);
        self.told.wait_until(|state| state.is_listening);
    }

    /// Forwards what clients say, and holds back all answers: what they ask for is done.
    pub fn hold_answers(&self) {
        self.told.change(|state| state.way = Way::AnswersHeld);
        self.told.wait_until(|state| state.is_listening);
    }

    /// Refuses new connections, and keeps those that it has.
    pub fn refuse(&self) {
        self.told.change(|state| state.way = Way::Refused);
        // It wakes who waits for a connection; the answer is of no interest.
        let _ = TcpStream::connect(self.address);
        self.told.wait_until(|state| !state.is_listening);
    }

    /// Forwards each part so much later, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.told.change(|state| state.delay = delay);
    }

    /// Ends all connections that there are.
    pub fn drop_connections(&self) {
        self.told.change(|state| {
            for connection in state.connections.drain(..) {
                connection.end();
            }
        });
    }

    /// Cuts the connection on which the next `COMMIT` comes, which is not forwarded: the server rolls the
    /// transaction back. The client must not use TLS.
    pub fn cut_before_commit_forwarded(&self) {
        self.told
            .change(|state| state.cut = Some(Cut::BeforeCommit));
    }

    /// Forwards the next `COMMIT`, and cuts its connection when the server has answered: the transaction
    /// is committed, and the client does not know. The client must not use TLS.
    ///
    /// A server that does not answer, as it waits for a standby, keeps its client waiting too:
    /// [`drop_connections`](Self::drop_connections) then leaves a commit under way.
    pub fn cut_after_commit_forwarded(&self) {
        self.told.change(|state| state.cut = Some(Cut::AfterCommit));
    }

    /// Waits until so many connections were cut at a `COMMIT`, in all.
    ///
    /// # Panics
    /// They were not within the bound.
    pub fn wait_for_cuts(&self, count: usize) {
        self.told.wait_until(|state| state.cuts >= count);
    }

    /// Waits until so many `COMMIT`s were forwarded, in all.
    ///
    /// # Panics
    /// They were not within the bound.
    pub fn wait_for_commits(&self, count: usize) {
        self.told.wait_until(|state| state.commits >= count);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.told.change(|state| state.has_ended = true);
        self.drop_connections();
        // It wakes who waits for a connection; the answer is of no interest.
        let _ = TcpStream::connect(self.address);
    }
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_until(&self, condition: impl Fn(&State) -> bool) {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), wait::BOUND, |state| !condition(state));
        let (state, late) = waited.unwrap();
        let seen = format!("{state:?}");
        // Whoever ends this proxy after a failure takes the lock too.
        drop(state);
        assert!(!late.timed_out(), "not within {:?}: {seen}", wait::BOUND);
    }

    /// Listens, as long as connections are taken, until the end.
    fn take_connections(self: Arc<Self>, address: SocketAddr) {
        loop {
            let wait = |state: &mut State| state.way == Way::Refused && !state.has_ended;
            let state = self.changed.wait_while(self.lock(), wait).unwrap();
            if state.has_ended {
                return;
            }
            drop(state);
            let listener = TcpListener::bind(address).unwrap();
            self.change(|state| state.is_listening = true);
            while let Ok((client, _)) = listener.accept() {
                if !self.admit(client) {
                    break;
                }
            }
            drop(listener);
            self.change(|state| state.is_listening = false);
        }
    }

    /// Serves a connection; false where no more are taken.
    fn admit(self: &Arc<Self>, client: TcpStream) -> bool {
        let mut state = self.lock();
        if state.has_ended || state.way == Way::Refused {
            return false;
        }
        let connection = Arc::new(Connection::new(client));
        state.connections.retain(|it| !it.has_ended());
        state.connections.push(Arc::clone(&connection));
        drop(state);
        let told = Arc::clone(self);
        std::thread::spawn(move || connection::serve(&told, &connection));
        true
    }
}
