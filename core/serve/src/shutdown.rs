//! From signals to an orderly end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a daemon takes in. From [`listen`](Self::listen) on none of them kills: also
/// during the drain they are swallowed, which has its own bound.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over; to be called before anything is served.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. SIGHUP is answered in the log: nothing is read again, and a
    /// terminal that was closed, or a habit of other daemons, ends nothing.
    pub async fn told_to_end(mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    let remedy = "restart it for another configuration; SIGTERM ends it";
                    tracing::info!(signal = "SIGHUP", remedy, "signal ignored");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;
    use crate::testing::{is_child, run_as_child, soon};

    #[tokio::test]
    async fn hangup_ends_nothing_and_terminate_does() {
        if !is_child() {
            return run_as_child("shutdown::tests::hangup_ends_nothing_and_terminate_does");
        }
        let signals = Signals::listen().unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        let ending = tokio::spawn(signals.told_to_end());
        kill_process(getpid(), Signal::HUP).unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        assert_eq!(soon(ending).await.unwrap(), "SIGTERM");
        // As in a drain.
        kill_process(getpid(), Signal::HUP).unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
    }
}
