//! How long the control plane may be silent before it counts as gone.
//!
//! Whoever has one address gains nothing by hurry, and costs a keepalive now and then. Whoever has
//! several is to be at another within two seconds, so it asks more often: what that costs is in
//! `docs/performance.md`. A control plane that has too much to do is slow as well, and to leave it
//! for its neighbour would make the neighbour slow: each silence in a row doubles the patience.

use std::time::Duration;

use countersign_serve::grpc::Keepalive;
use countersign_serve::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};

use super::session::HELLO_DEADLINE;

/// Where there are several addresses, a ping is sent after this much silence.
pub(super) const PING_OF_SEVERAL: Duration = Duration::from_millis(800);
/// Where there are several, a ping is answered in this time at first. With [`PING_OF_SEVERAL`] it is
/// the longest that a control plane which stands still goes unnoticed; a packet may be lost twice.
pub(super) const ANSWER_OF_SEVERAL: Duration = Duration::from_millis(800);
/// Where there are several, the stream is open in this time at first. A control plane that is busy
/// with a fleet that comes back takes longer than for a ping.
pub(super) const HELLO_OF_SEVERAL: Duration = Duration::from_secs(2);

/// What is waited for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// For the answer to a ping, and how often there is one.
    pub(super) keepalive: Keepalive,
    /// For the Hello on a new stream.
    pub(super) hello: Duration,
}

impl Patience {
    /// With so many addresses, after so many silences in a row.
    pub(super) fn of(addresses: usize, silences: u32) -> Self {
        if addresses < 2 {
            return Self {
                keepalive: Keepalive {
                    interval: KEEPALIVE_INTERVAL,
                    timeout: KEEPALIVE_TIMEOUT,
                },
                hello: HELLO_DEADLINE,
            };
        }
        // 2^5 × 800 ms is above the longest already.
        let times = 2u32.pow(silences.min(5));
        Self {
            keepalive: Keepalive {
                interval: PING_OF_SEVERAL,
                timeout: (ANSWER_OF_SEVERAL * times).min(KEEPALIVE_TIMEOUT),
            },
            hello: (HELLO_OF_SEVERAL * times).min(HELLO_DEADLINE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_asked_seldom() {
        let alone = Patience::of(1, 0);
        assert_eq!(alone.keepalive.interval, KEEPALIVE_INTERVAL);
        assert_eq!(alone, Patience::of(1, 9));
        assert!(Patience::of(2, 0).keepalive.interval < KEEPALIVE_INTERVAL);
    }

    #[test]
    fn standstill_is_noticed_in_time_for_a_failover() {
        let keepalive = Patience::of(2, 0).keepalive;
        let noticed = keepalive.interval + keepalive.timeout;
        assert!(noticed <= Duration::from_millis(1_600), "{noticed:?}");
    }

    #[test]
    fn each_silence_doubles_the_patience_up_to_the_longest() {
        let answers = (0..7).map(|n| Patience::of(3, n).keepalive.timeout.as_millis());
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers, [800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
        assert_eq!(Patience::of(3, u32::MAX).hello, HELLO_DEADLINE);
    }
}
