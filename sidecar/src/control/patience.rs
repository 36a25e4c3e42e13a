//! How long the control plane may be silent, before another is looked for and before it counts as gone.
//!
//! Whoever has one address gains nothing by hurry, and costs a keepalive now and then. Whoever has
//! several is to be at another within two seconds, so it asks more often: what that costs is in
//! `docs/performance.md`.
//!
//! A control plane that has too much to do is silent as well. A connection that is given up costs it another
//! one, which is some twenty times the work of the answer that was missing, so that it would never catch up with
//! a fleet that is in a hurry. So silence that is short ends nothing: it is a reason to open a stream
//! elsewhere, while the one that there is goes on. Each silence in a row doubles the time until the next is one.
//! What ends a connection is silence for as long as a fleet takes to be greeted, and nothing is given up sooner
//! where no other address is better.

use std::time::Duration;

use countersign_serve::grpc::Keepalive;
use countersign_serve::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_OF_REMOTES, KEEPALIVE_TIMEOUT};

use super::session::HELLO_DEADLINE;

/// Where there are several addresses, a ping is sent after this much silence.
pub(super) const PING_OF_SEVERAL: Duration = Duration::from_millis(800);
/// Where there are several, a ping is answered in this time at first, or another address is looked for. With
/// [`PING_OF_SEVERAL`] it is the longest that a control plane which stands still goes unnoticed; a packet may
/// be lost twice.
pub(super) const ANSWER_OF_SEVERAL: Duration = Duration::from_millis(800);
/// Where there are several, the stream is open in this time at first. A control plane that is busy
/// with a fleet that comes back takes longer than for a ping.
pub(super) const HELLO_OF_SEVERAL: Duration = Duration::from_secs(2);

/// The control plane asks as well, and is heard then: within this time also where one of its pings is late.
const ASKED_WITHIN: Duration = KEEPALIVE_OF_REMOTES.interval.saturating_mul(2);

/// What is waited for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// How often a ping is sent, and how long after it a connection with a stream has ended.
    pub(super) keepalive: Keepalive,
    /// The same of a connection for one call, which nothing is lost by making elsewhere.
    pub(super) keepalive_of_call: Keepalive,
    /// Another address is looked for after this much silence, where there is one, on a connection that was made
    /// when there were several.
    pub(super) silence: Option<Duration>,
    /// For the Hello on a new stream, where another address may be better.
    pub(super) hello: Duration,
}

impl Patience {
    /// With so many addresses, after so many silences in a row.
    pub(super) fn of(addresses: usize, silences: u32) -> Self {
        if addresses < 2 {
            let keepalive = Keepalive {
                interval: KEEPALIVE_INTERVAL,
                timeout: KEEPALIVE_TIMEOUT,
            };
            return Self {
                keepalive,
                keepalive_of_call: keepalive,
                silence: None,
                hello: HELLO_DEADLINE,
            };
        }
        // 2^5 × 800 ms is above the longest already.
        let times = 2u32.pow(silences.min(5));
        let answer = (ANSWER_OF_SEVERAL * times).min(KEEPALIVE_TIMEOUT);
        let within = |timeout| Keepalive {
            interval: PING_OF_SEVERAL,
            timeout,
        };
        Self {
            keepalive: within(KEEPALIVE_TIMEOUT),
            keepalive_of_call: within(answer),
            silence: Some(PING_OF_SEVERAL + answer),
            hello: (HELLO_OF_SEVERAL * times).min(HELLO_DEADLINE),
        }
    }

    /// Another address is looked for after this much silence, where there is one, on a connection that sends a
    /// ping so often. One that was made when no other was known has seldom something to hear: it is silent later,
    /// until the next connection, or all that are told of a second control plane would leave the first at once.
    pub(super) fn silence_of(&self, asks_every: Duration) -> Option<Duration> {
        let later = asks_every.min(ASKED_WITHIN);
        let later = later.saturating_sub(PING_OF_SEVERAL);
        Some(self.silence? + later)
    }
}

#[cfg(test)]
mod tests {
    use countersign_serve::limits::MAX_CONNECTIONS;

    use super::*;

    #[test]
    fn one_address_is_asked_seldom_and_never_left() {
        let alone = Patience::of(1, 0);
        assert_eq!(alone.keepalive.interval, KEEPALIVE_INTERVAL);
        assert_eq!(alone.silence, None);
        assert_eq!(alone, Patience::of(1, 9));
        assert!(Patience::of(2, 0).keepalive.interval < KEEPALIVE_INTERVAL);
    }

    #[test]
    fn standstill_is_noticed_in_time_for_a_failover() {
        let noticed = Patience::of(2, 0).silence.unwrap();
        assert!(noticed <= Duration::from_millis(1_600), "{noticed:?}");
    }

    #[test]
    fn connection_that_asks_seldom_is_silent_later() {
        let alone = Patience::of(1, 0).keepalive.interval;
        let several = Patience::of(2, 0);
        assert_eq!(several.silence_of(PING_OF_SEVERAL), several.silence);
        let later = several.silence_of(alone).unwrap();
        let is_asked = KEEPALIVE_OF_REMOTES.interval;
        assert!(later > 2 * is_asked, "one ping may be late: {later:?}");
        assert!(later < Duration::from_secs(5), "{later:?}");
    }

    #[test]
    fn each_silence_doubles_the_patience_up_to_the_longest() {
        let answer = |n| Patience::of(3, n).keepalive_of_call.timeout.as_millis();
        let answers: Vec<_> = (0..7).map(answer).collect();
        assert_eq!(answers, [800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
        assert_eq!(Patience::of(3, u32::MAX).hello, HELLO_DEADLINE);
    }

    /// Each connection that is given up costs a control plane a new one: with as many sidecars as it takes, it
    /// has to be able to greet all of them before the first gives up again.
    #[test]
    fn all_that_a_control_plane_takes_are_greeted_before_one_gives_up() {
        let greeting = Duration::from_micros(600);
        let all = greeting * u32::try_from(MAX_CONNECTIONS).unwrap();
        for silences in 0..7 {
            let keepalive = Patience::of(3, silences).keepalive;
            assert!(keepalive.interval + keepalive.timeout > all);
        }
    }
}
