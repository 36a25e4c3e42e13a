//! What happened, line by line: the simulated time, who, what. Two runs of one seed have the same
//! lines.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

/// The trace of one run.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<Lines>>);

struct Lines {
    began: Instant,
    hash: Sha256,
    count: u64,
    out: Box<dyn Write + Send>,
}

impl Trace {
    /// A trace that begins now and is written there.
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            began: Instant::now(),
            hash: Sha256::new(),
            count: 0,
            out,
        })))
    }

    /// One line.
    pub(crate) fn line(&self, who: &str, what: &str) {
        self.lines().write(who, what.trim_end());
    }

    /// How many lines there are, and the hash of all of them.
    pub(crate) fn sum(&self) -> (u64, String) {
        let lines = self.lines();
        (lines.count, hex::encode(lines.hash.clone().finalize()))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn write(&mut self, who: &str, what: &str) {
        let at = self.began.elapsed();
        let (seconds, millis) = (at.as_secs(), at.subsec_millis());
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        let line = format!(
            "{hours:02}:{minutes:02}:{:02}.{millis:03} {who:<14} {what}\n",
            seconds % 60
        );
        self.hash.update(line.as_bytes());
        self.count += 1;
        // Whoever reads it may have gone: the run goes on.
        let _ = self.out.write_all(line.as_bytes());
    }
}

/// The log lines of both daemons are lines of the trace.
impl<'a> MakeWriter<'a> for Trace {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine {
            trace: self.clone(),
            text: Vec::new(),
        }
    }
}

/// One event of a daemon's log.
pub(crate) struct LogLine {
    trace: Trace,
    text: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.trace.line("log", &String::from_utf8_lossy(&self.text));
        }
    }
}
