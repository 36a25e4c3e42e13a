//! Descriptors of a process, shared out among its listeners before they serve.
//!
//! A listener whose cap is above what the kernel gives does not refuse, it starves: itself, and the
//! database, the log and the operator's socket with it. So caps come from the limit of the process,
//! minus what the rest of it needs.

use rustix::process::{Resource, getrlimit};

/// Descriptors that no listener gets: the database, the issuance log, keys, configuration, a backup
/// under way, the connection to a control plane, the runtime, a sidecar's questions about who owns
/// a socket. About 50 are open at once.
pub const RESERVED_DESCRIPTORS: usize = 128;
/// However low the limit: every listener serves somebody.
const LEAST: usize = 64;
/// A listener that needs few has at most one in so many, so that the large ones have the most.
const SMALL_SHARE: usize = 16;

/// What is left of the limit, and who got how much.
#[derive(Debug)]
pub struct Descriptors {
    limit: usize,
    shared: usize,
    left: usize,
    caps: Vec<Cap>,
}

/// What a listener got.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cap {
    name: String,
    wanted: usize,
    got: usize,
}

impl Descriptors {
    /// Of this process, as its limit is now.
    pub fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        Self::of_limit(limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        }))
    }

    /// Of a process with this limit.
    pub fn of_limit(limit: usize) -> Self {
        let shared = limit.saturating_sub(RESERVED_DESCRIPTORS).max(LEAST);
        Self {
            limit,
            shared,
            left: shared,
            caps: Vec::new(),
        }
    }

    /// A cap for what needs few; at least one. To be asked before [`large`](Self::large).
    pub fn small(&mut self, name: impl Into<String>, wanted: usize) -> usize {
        let got = wanted.min(self.shared / SMALL_SHARE);
        self.give(name.into(), wanted, got, 1)
    }

    /// A cap for what needs many, of so many that share the rest equally, this one included. One
    /// connection takes `each` descriptors.
    pub fn large(
        &mut self,
        name: impl Into<String>,
        wanted: usize,
        each: usize,
        among: usize,
    ) -> usize {
        let got = wanted.min(self.left / each.max(1) / among.max(1));
        self.give(name.into(), wanted, got, each)
    }

    fn give(&mut self, name: String, wanted: usize, got: usize, each: usize) -> usize {
        let got = got.max(1);
        self.left = self.left.saturating_sub(got * each);
        self.caps.push(Cap { name, wanted, got });
        got
    }

    /// Warns where the limit leaves somebody less than it wants, and says what follows.
    pub fn tell(&self) {
        let Some(caps) = self.shortage() else {
            return;
        };
        tracing::warn!(
            limit = self.limit,
            reserved = RESERVED_DESCRIPTORS,
            caps,
            remedy = "raise the hard limit of open files: LimitNOFILE= of the unit, or ulimit -Hn",
            "few connections: the limit of open files is low"
        );
    }

    fn shortage(&self) -> Option<String> {
        let short = self.caps.iter().filter(|cap| cap.got < cap.wanted);
        let short: Vec<_> = short
            .map(|Cap { name, wanted, got }| format!("{name} {got} of {wanted}"))
            .collect();
        (!short.is_empty()).then(|| short.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_limit_shortens_nobody() {
        let mut descriptors = Descriptors::of_limit(524_288);
        assert_eq!(descriptors.small("telemetry", 320), 320);
        assert_eq!(descriptors.large("connections", 16_384, 2, 3), 16_384);
        assert_eq!(descriptors.shortage(), None);
    }

    #[test]
    fn low_limit_says_what_follows() {
        let mut descriptors = Descriptors::of_limit(1_024);
        assert_eq!(descriptors.small("telemetry", 320), 56);
        assert_eq!(descriptors.small("status", 16), 16);
        assert_eq!(descriptors.large("api", 16_384, 1, 1), 824);
        let shortage = descriptors.shortage().unwrap();
        assert_eq!(shortage, "telemetry 56 of 320, api 824 of 16384");
    }

    proptest! {
        #[test]
        fn caps_stay_below_the_limit(
            limit in 192..1_000_000_usize,
            small in proptest::collection::vec(1..2_000_usize, 0..6),
            large in proptest::collection::vec((1..20_000_usize, 1..3_usize), 0..6),
        ) {
            let mut descriptors = Descriptors::of_limit(limit);
            let mut taken = 0;
            for wanted in small {
                let got = descriptors.small("small", wanted);
                prop_assert!((1..=wanted).contains(&got));
                taken += got;
            }
            let count = large.len();
            for (number, (wanted, each)) in large.into_iter().enumerate() {
                let got = descriptors.large("large", wanted, each, count - number);
                prop_assert!((1..=wanted).contains(&got));
                taken += got * each;
            }
            prop_assert!(taken <= limit - RESERVED_DESCRIPTORS);
        }
    }
}
