//! An honest caller beside a flood: what it does again and again, and how long it waits.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{sleep, timeout};

use crate::issuance::report::{Report, quantile};

/// Between two of its calls.
const PAUSE: Duration = Duration::from_millis(200);
/// It gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an honest caller waited.
#[derive(Debug, Default)]
pub struct Waits {
    /// Each time it was served.
    pub served: Vec<Duration>,
    /// How often it was not.
    pub failed: usize,
}

impl Waits {
    /// Does something once, within patience.
    pub async fn note(&mut self, act: impl Future<Output = Result<()>>) {
        let begun = Instant::now();
        match timeout(PATIENCE, act).await {
            Ok(Ok(())) => self.served.push(begun.elapsed()),
            Ok(Err(_)) | Err(_) => self.failed += 1,
        }
    }

    /// With those of another while.
    pub fn extend(&mut self, more: Self) {
        self.served.extend(more.served);
        self.failed += more.failed;
    }

    /// Reports them under a name.
    pub fn report(&self, report: Report, who: &str) {
        let millis = |share| quantile(&self.served, share).as_secs_f64() * 1e3;
        report.figure(&format!("{who}: p50"), millis(0.5), "ms");
        report.figure(&format!("{who}: slowest"), millis(1.0), "ms");
        report.figure(&format!("{who}: served"), self.served.len() as f64, "");
        report.figure(&format!("{who}: failed"), self.failed as f64, "");
    }
}

/// Acts again and again while a flood runs.
pub async fn beside<T>(
    flood: impl Future<Output = T>,
    mut act: impl AsyncFnMut() -> Result<()>,
) -> (T, Waits) {
    let mut waits = Waits::default();
    let mut flood = pin!(flood);
    loop {
        tokio::select! {
            done = &mut flood => return (done, waits),
            () = async {
                waits.note(act()).await;
                sleep(PAUSE).await;
            } => {}
        }
    }
}
