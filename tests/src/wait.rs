//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take that only has to happen: generous, for a loaded machine.
pub const BOUND: Duration = Duration::from_secs(30);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `condition` gives something.
///
/// # Errors
/// It did not within the bound: says `what` was waited for.
pub async fn until<T>(
    what: &str,
    bound: Duration,
    condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    until_at_each(PAUSE, what, bound, condition).await
}

/// The same with a longer `pause` between two looks, where one of them costs a process.
///
/// # Errors
/// It did not within the bound: says `what` was waited for.
pub async fn until_at_each<T>(
    pause: Duration,
    what: &str,
    bound: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return Ok(found);
        }
        if start.elapsed() > bound {
            bail!("{what}: not within {bound:?}");
        }
        tokio::time::sleep(pause).await;
    }
}
