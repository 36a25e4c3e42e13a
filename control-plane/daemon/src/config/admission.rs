//! `[admission]`: how much may be signed at once, and how much of it for one caller.

use countersign_cli::{Key, Reader};
use serde::Serialize;

use countersign_admission::{Counts, Limits, MAX_WAIT, Rate};

const MAX_IN_FLIGHT: Key = Key::new("admission.max_in_flight", "Enrolments that run at once.");
const MAX_ATTESTING: Key = Key::new("admission.max_attesting", "Attestations that run at once.");
const MAX_QUEUED: Key = Key::new(
    "admission.max_queued",
    "Enrolments that wait at their gate, and attestations that wait at theirs; one more is told to \
     come back later.",
);
const MAX_QUEUED_PER_CALLER: Key = Key::new(
    "admission.max_queued_per_caller",
    "Enrolments of one node that wait; each key of a call is one.",
);
const RATE_PER_CALLER: Key = Key::new(
    "admission.rate_per_caller",
    "Enrolments a second of one node, in the long run.",
);
const BURST_PER_CALLER: Key = Key::new(
    "admission.burst_per_caller",
    "Enrolments of one node at once, after it was quiet.",
);

/// Failed attestations a second that one address may make in the long run.
const FAILED_ATTESTATIONS_PER_SECOND: u32 = 20;
/// Failed attestations that one address may make at once: a rack behind one address, with one
/// stale image.
const FAILED_ATTESTATIONS_AT_ONCE: u32 = 200;

/// The limits on signing. The defaults hinder no fleet that behaves.
#[derive(Clone, Debug, Serialize)]
pub struct Admission {
    /// `max_in_flight`: enrolments that run at once.
    pub max_in_flight: u32,
    /// `max_attesting`: attestations that run at once.
    pub max_attesting: u32,
    /// `max_queued`: calls that wait at once, at each of the two gates.
    pub max_queued: u32,
    /// `max_queued_per_caller`: enrolments of one node that wait at once.
    pub max_queued_per_caller: u32,
    /// `rate_per_caller`: enrolments a second of one node in the long run.
    pub rate_per_caller: u32,
    /// `burst_per_caller`: enrolments of one node at once, after it was quiet.
    pub burst_per_caller: u32,
}

impl Admission {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut whole = |key: &Key, default, most| {
            let number = reader.integer(key, default, 1..=most);
            u32::try_from(number).expect("the bounds are below 2^32")
        };
        Self {
            max_in_flight: whole(&MAX_IN_FLIGHT, 128, 1_024),
            max_attesting: whole(&MAX_ATTESTING, 32, 1_024),
            max_queued: whole(&MAX_QUEUED, 32_768, 1_000_000),
            max_queued_per_caller: whole(&MAX_QUEUED_PER_CALLER, 1_024, 1_000_000),
            rate_per_caller: whole(&RATE_PER_CALLER, 200, 1_000_000),
            burst_per_caller: whole(&BURST_PER_CALLER, 10_000, 1_000_000),
        }
    }

    /// The limits of the gate that recognised callers pass.
    pub(crate) fn signing(&self) -> Limits {
        Limits {
            max_in_flight: self.max_in_flight as usize,
            max_queued: self.max_queued as usize,
            max_queued_per_caller: self.max_queued_per_caller as usize,
            max_wait: MAX_WAIT,
            rate: Rate::new(self.rate_per_caller, self.burst_per_caller),
            counts: Counts::Calls,
        }
    }

    /// The limits of the gate that attestations pass. Many nodes may share an address, so only
    /// what failed counts against it.
    pub(crate) fn attesting(&self) -> Limits {
        Limits {
            max_in_flight: self.max_attesting as usize,
            max_queued: self.max_queued as usize,
            max_queued_per_caller: self.max_queued as usize,
            max_wait: MAX_WAIT,
            rate: Rate::new(FAILED_ATTESTATIONS_PER_SECOND, FAILED_ATTESTATIONS_AT_ONCE),
            counts: Counts::Failures,
        }
    }
}
