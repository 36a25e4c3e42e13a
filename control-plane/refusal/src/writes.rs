//! Whether the disk takes what is written to one place, and since when it does not: what readiness
//! and `status` tell of a full disk.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use countersign_model::whole_second;

/// Why the newest write was refused; empty where it was taken, and before the first.
#[derive(Debug, Default)]
pub struct RefusedWrites(ArcSwapOption<Refusal>);

#[derive(Debug)]
struct Refusal {
    reason: String,
    since: Instant,
}

impl RefusedWrites {
    /// A write was refused. Returns whether the one before was taken.
    pub fn refused(&self, reason: String) -> bool {
        let before = self.0.load_full();
        let since = before.as_ref().map(|before| before.since);
        let refusal = Refusal {
            reason,
            since: since.unwrap_or_else(Instant::now),
        };
        self.0.store(Some(Arc::new(refusal)));
        before.is_none()
    }

    /// A write was taken. Returns whether the one before was refused.
    pub fn taken(&self) -> bool {
        // A load is all that the common case costs.
        self.0.load().is_some() && self.0.swap(None).is_some()
    }

    /// Whether the newest write was refused.
    pub fn is_refusing(&self) -> bool {
        self.0.load().is_some()
    }

    /// What is refused since when and why, for people.
    pub fn told(&self, what: &str, now: Timestamp) -> Option<String> {
        let refusal = self.0.load_full()?;
        let since = now.checked_sub(refusal.since.elapsed()).unwrap_or(now);
        let since = whole_second(since);
        Some(format!("{what} refused since {since}: {}", refusal.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_dates_those_after_it() {
        let writes = RefusedWrites::default();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(writes.told("writes", now), None);
        assert!(!writes.taken(), "nothing was refused");
        assert!(writes.refused("full".to_owned()), "the first is news");
        let first = writes.0.load_full().unwrap().since;
        assert!(!writes.refused("still full".to_owned()));
        assert_eq!(writes.0.load_full().unwrap().since, first);
        let told = writes.told("writes", now).unwrap();
        assert!(told.starts_with("writes refused since 20"), "{told}");
        assert!(told.ends_with(": still full"), "{told}");
        assert!(writes.taken() && !writes.is_refusing());
    }
}
