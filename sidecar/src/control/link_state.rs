//! Whether the control plane is connected, and since when: for readiness, metrics and `status`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::clock_skew::ClockSkew;

/// An address of the control plane that did not lead there when it was last tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnreachedAddress {
    /// As configured, with what the name resolved to.
    pub(crate) address: String,
    /// Why not.
    pub(crate) problem: String,
}

/// The address of the newest connection that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftAddress {
    /// As configured, with what the name resolved to.
    pub(crate) address: String,
    /// Why it ended.
    pub(crate) problem: String,
    /// When.
    pub(crate) at: Timestamp,
}

/// How the connection to the control plane stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkState {
    /// Whether the discovery stream is open.
    pub(crate) connected: bool,
    /// Since when it is or is not.
    pub(crate) since: Timestamp,
    /// Whether it ever was, in this process.
    pub(crate) ever: bool,
    /// Why it is not.
    pub(crate) problem: Option<String>,
    /// Whether that is because the control plane's data was put back from a copy.
    pub(crate) is_older: bool,
    /// How our clock stands to the control plane's, where they disagree.
    pub(crate) clock_skew: Option<ClockSkew>,
    /// The address that the stream goes to, while it is open.
    pub(crate) address: Option<String>,
    /// The addresses that the last attempt did not reach. Bounded: of every configured address
    /// [`MAX_RESOLVED`](super::addresses::MAX_RESOLVED).
    pub(crate) unreached: Vec<UnreachedAddress>,
    /// Where the connection before this one led.
    pub(crate) left: Option<LeftAddress>,
}

impl LinkState {
    /// A process that starts at `now`.
    pub(crate) fn starting(now: Timestamp) -> Self {
        Self {
            connected: false,
            since: now,
            ever: false,
            problem: None,
            is_older: false,
            clock_skew: None,
            address: None,
            unreached: Vec::new(),
            left: None,
        }
    }

    /// The stream opened, to this address, after others were not reached.
    pub(crate) fn opened(
        &mut self,
        address: String,
        unreached: Vec<UnreachedAddress>,
        now: Timestamp,
    ) {
        *self = Self {
            connected: true,
            since: now,
            ever: true,
            problem: None,
            is_older: false,
            clock_skew: self.clock_skew,
            address: Some(address),
            unreached,
            left: self.left.take(),
        };
    }

    /// A certificate told how our clock stands to the control plane's. Returns whether that has changed.
    pub(crate) fn compared_clocks(&mut self, skew: Option<ClockSkew>) -> bool {
        let has_changed = match (&self.clock_skew, &skew) {
            (None, None) => false,
            (Some(old), Some(new)) => !old.is_like(new),
            _ => true,
        };
        if has_changed {
            self.clock_skew = skew;
        }
        has_changed
    }

    /// The stream ended or could not be opened. The moment is that of the first failure.
    pub(crate) fn failed(
        &mut self,
        problem: String,
        unreached: Vec<UnreachedAddress>,
        now: Timestamp,
    ) {
        if self.connected {
            self.connected = false;
            self.since = now;
        }
        self.problem = Some(problem);
        self.is_older = false;
        self.address = None;
        self.unreached = unreached;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_dates_the_outage() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let mut link = LinkState::starting(at(0));
        link.opened("https://a".into(), Vec::new(), at(5));
        assert_eq!(link.address.as_deref(), Some("https://a"));
        link.failed("broke".into(), Vec::new(), at(10));
        link.failed("refused".into(), Vec::new(), at(20));
        assert_eq!((link.since, link.ever), (at(10), true));
        assert_eq!(link.address, None);
        assert_eq!(link.problem.as_deref(), Some("refused"));
    }
}
