//! Log lines on their way to stderr: whoever logs waits for nobody.
//!
//! A pipe holds 64 KiB. Whoever writes into a full one waits for its reader, and a reader may stand
//! still. So one thread writes, and lines wait for it in at most [`MAX_QUEUED_BYTES`]; those that
//! find no room are dropped and counted, and a line says how many once something could be written
//! again ([why our own](../../../docs/decisions/0017-log-lines-wait-for-nobody.md)).

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most bytes of lines that wait; as many again are being written. Five thousand lines: the reader
/// may pause for 25 s at the most lines that peers can cause.
pub const MAX_QUEUED_BYTES: usize = 1 << 20;
/// How long a process that ends waits for the reader of its last lines.
pub const FLUSH_DEADLINE: Duration = Duration::from_secs(1);
/// Until a pipe that takes nothing is tried again, where it is set not to wait.
const FULL_PIPE_PAUSE: Duration = Duration::from_millis(50);

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that were dropped since the process started, because the reader of stderr stood still or
/// was gone.
pub(crate) fn dropped_total() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Where lines are put. Cheap to clone; every clone is the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Something waits to be written.
    filled: Condvar,
    /// Everything was written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// What was written last found a reader.
    is_read: bool,
    /// Lines that were dropped and that no line has told of.
    dropped: u64,
}

impl Lines {
    /// A queue whose thread writes into `out`, to the end of the process.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn into(out: impl Write + Send + 'static) -> io::Result<Self> {
        let tell = |_: &Self, count| {
            tracing::warn!(count, "log lines were dropped: their reader stood still");
        };
        Self::telling(out, tell)
    }

    /// As [`into`](Self::into), with who makes a line of how many were dropped.
    fn telling(
        out: impl Write + Send + 'static,
        tell: impl Fn(&Self, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let lines = Self(Arc::default());
        let writer = Writer {
            lines: lines.clone(),
            out,
            tell,
        };
        let thread = thread::Builder::new().name("log-writer".to_owned());
        thread.spawn(move || writer.run())?;
        Ok(lines)
    }

    /// Waits until everything is written, at most [`FLUSH_DEADLINE`].
    pub(crate) fn flush_within_deadline(&self) {
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        let emptied = &self.0.emptied;
        let waited = emptied.wait_timeout_while(self.0.lock(), FLUSH_DEADLINE, is_busy);
        drop(waited);
    }
}

/// One call is one line, or it is dropped as a whole.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > MAX_QUEUED_BYTES {
            state.drop_lines(1);
        } else {
            state.waiting.extend_from_slice(line);
            self.0.filled.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and takes them all; how many were dropped, where that is to be told now.
    fn take(&self) -> (Vec<u8>, u64) {
        let is_empty = |state: &mut State| state.waiting.is_empty();
        let filled = self.filled.wait_while(self.lock(), is_empty);
        let mut state = filled.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        let lines = std::mem::take(&mut state.waiting);
        (lines, state.take_untold())
    }

    /// What was taken is written, but for so many lines; how many are to be told now.
    fn written(&self, lost: usize) -> u64 {
        let mut state = self.lock();
        state.is_writing = false;
        state.is_read = lost == 0;
        state.drop_lines(lost);
        if state.waiting.is_empty() {
            self.emptied.notify_all();
        }
        state.take_untold()
    }
}

impl State {
    fn drop_lines(&mut self, lines: usize) {
        let lines = lines as u64;
        self.dropped += lines;
        DROPPED.fetch_add(lines, Ordering::Relaxed);
    }

    /// How many were dropped, once a line that says so is read and has room: in a full queue it would be
    /// dropped as well, and the count with it.
    fn take_untold(&mut self) -> u64 {
        match self.is_read && self.waiting.len() <= MAX_QUEUED_BYTES / 2 {
            true => std::mem::take(&mut self.dropped),
            false => 0,
        }
    }
}

struct Writer<W, T> {
    lines: Lines,
    out: W,
    tell: T,
}

impl<W: Write, T: Fn(&Lines, u64)> Writer<W, T> {
    fn run(mut self) {
        loop {
            let (lines, untold) = self.lines.0.take();
            self.tell(untold);
            let lost = self.write(&lines);
            let untold = self.lines.0.written(lost);
            self.tell(untold);
        }
    }

    fn tell(&self, dropped: u64) {
        if dropped > 0 {
            (self.tell)(&self.lines, dropped);
        }
    }

    /// Writes, and counts the lines that were not written whole: their reader is gone.
    fn write(&mut self, mut rest: &[u8]) -> usize {
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => break,
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever shares the pipe has set it not to wait.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::park_timeout(FULL_PIPE_PAUSE);
                }
                Err(_) => break,
            }
        }
        rest.iter().filter(|byte| **byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests;
