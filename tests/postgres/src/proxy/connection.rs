//! One connection of a proxy, in both directions.

use std::io::{self, Read as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::frontend::Reader;
use super::*;

/// Most that is forwarded at once.
const CHUNK: usize = 16 * 1024;
/// What holds a request, and what an answer.
const REQUESTS: &[Way] = &[Way::BlackHole];
const ANSWERS: &[Way] = &[Way::BlackHole, Way::AnswersHeld];
/// What a server says when it has ended a transaction and waits for the next one.
const IS_IDLE: &[u8] = b"Z\0\0\0\x05I";

/// Both sides of it.
#[derive(Debug)]
pub(super) struct Connection {
    client: TcpStream,
    server: OnceLock<TcpStream>,
    has_ended: AtomicBool,
    /// A commit is under way, and its client hears nothing any more.
    is_deaf: AtomicBool,
}

impl Connection {
    pub(super) fn new(client: TcpStream) -> Self {
        Self {
            client,
            server: OnceLock::new(),
            has_ended: AtomicBool::new(false),
            is_deaf: AtomicBool::new(false),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Ends both sides.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        for side in std::iter::once(&self.client).chain(self.server.get()) {
            // A side that is gone has ended.
            let _ = side.shutdown(Shutdown::Both);
        }
    }
}

/// Forwards both directions until one side ends, and then ends both.
pub(super) fn serve(told: &Told, connection: &Connection) {
    if told.may_forward(connection, REQUESTS) && connect(told, connection).is_ok() {
        std::thread::scope(|scope| {
            scope.spawn(|| forward_answers(told, connection));
            forward_requests(told, connection);
        });
    }
    connection.end();
}

fn connect(told: &Told, connection: &Connection) -> io::Result<()> {
    let server = TcpStream::connect(told.server)?;
    for side in [&server, &connection.client] {
        side.set_nodelay(true)?;
    }
    connection.server.get_or_init(|| server);
    Ok(())
}

impl Connection {
    fn server(&self) -> &TcpStream {
        self.server
            .get()
            .expect("it is connected before it is forwarded")
    }
}

/// From the client to the server.
fn forward_requests(told: &Told, connection: &Connection) {
    // Whichever way it ends, so does the other direction.
    let _ = try_forward_requests(told, connection);
    told.change(|_| connection.end());
}

fn try_forward_requests(told: &Told, connection: &Connection) -> io::Result<()> {
    let mut reader = Reader::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = (&connection.client).read(&mut chunk)?;
        if length == 0 || !told.may_forward(connection, REQUESTS) {
            return Ok(());
        }
        for message in reader.read(&chunk[..length]) {
            if message.commits && !told.may_commit(connection) {
                return Ok(());
            }
            connection.server().write_all(&message.bytes)?;
            if message.commits {
                told.change(|state| state.commits += 1);
            }
        }
    }
}

/// From the server to the client.
fn forward_answers(told: &Told, connection: &Connection) {
    // Whichever way it ends, so does the other direction.
    let _ = try_forward_answers(told, connection);
    told.change(|state| {
        connection.end();
        state.cuts += usize::from(connection.is_deaf.load(Ordering::SeqCst));
    });
}

fn try_forward_answers(told: &Told, connection: &Connection) -> io::Result<()> {
    let mut withheld = Vec::<u8>::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = connection.server().read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        if connection.is_deaf.load(Ordering::SeqCst) {
            withheld.extend(&chunk[..length]);
            if withheld.windows(IS_IDLE.len()).any(|part| part == IS_IDLE) {
                return Ok(());
            }
            continue;
        }
        if !told.may_forward(connection, ANSWERS) {
            return Ok(());
        }
        (&connection.client).write_all(&chunk[..length])?;
    }
}

impl Told {
    /// Waits until a part may be forwarded; false where its connection has ended.
    fn may_forward(&self, connection: &Connection, held_by: &[Way]) -> bool {
        let held = |state: &mut State| held_by.contains(&state.way) && !connection.has_ended();
        let state = self.changed.wait_while(self.lock(), held).unwrap();
        let delay = state.delay;
        if !delay.is_zero() {
            let waits = |_: &mut State| !connection.has_ended();
            let waited = self.changed.wait_timeout_while(state, delay, waits);
            drop(waited.unwrap());
        }
        !connection.has_ended()
    }

    /// Whether the server may have a commit; its client may hear nothing any more.
    fn may_commit(&self, connection: &Connection) -> bool {
        let mut state = self.lock();
        match state.cut.take() {
            None => true,
            Some(Cut::AfterCommit) => {
                connection.is_deaf.store(true, Ordering::SeqCst);
                true
            }
            Some(Cut::BeforeCommit) => {
                connection.end();
                state.cuts += 1;
                false
            }
        }
    }
}
