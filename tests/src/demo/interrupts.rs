//! Ctrl-C and a polite kill, counted: the first asks for the summary, the second for the end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How many interrupts there were.
#[derive(Clone, Debug)]
pub(super) struct Interrupts(watch::Receiver<usize>);

impl Interrupts {
    /// Catches them from now on.
    pub(super) fn catch() -> io::Result<Self> {
        let signals = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        let (count, interrupts) = watch::channel(0);
        tokio::spawn(count_into(count, signals));
        Ok(Self(interrupts))
    }

    /// Waits until there were `count` of them.
    pub(super) async fn reached(&self, count: usize) {
        let mut seen = self.0.clone();
        if seen.wait_for(|seen| *seen >= count).await.is_err() {
            // Whoever counted is gone with the runtime.
            std::future::pending::<()>().await;
        }
    }
}

async fn count_into(count: watch::Sender<usize>, signals: (Signal, Signal)) {
    let (mut interrupt, mut terminate) = signals;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = count.closed() => return,
        }
        count.send_modify(|count| *count += 1);
    }
}
