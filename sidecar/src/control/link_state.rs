//! Whether the control plane is connected, and since when: for readiness, metrics and `status`.

use jiff::Timestamp;

/// How the connection to the control plane stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Whether the discovery stream is open.
    pub connected: bool,
    /// Since when it is or is not.
    pub since: Timestamp,
    /// Whether it ever was, in this process.
    pub ever: bool,
    /// Why it is not.
    pub problem: Option<String>,
}

impl LinkState {
    /// A process that starts at `now`.
    pub fn starting(now: Timestamp) -> Self {
        Self {
            connected: false,
            since: now,
            ever: false,
            problem: None,
        }
    }

    /// The stream opened.
    pub fn opened(&mut self, now: Timestamp) {
        *self = Self {
            connected: true,
            since: now,
            ever: true,
            problem: None,
        };
    }

    /// The stream ended or could not be opened. The moment is that of the first failure.
    pub fn failed(&mut self, now: Timestamp, problem: String) {
        if self.connected {
            self.connected = false;
            self.since = now;
        }
        self.problem = Some(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_dates_the_outage() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let mut link = LinkState::starting(at(0));
        link.opened(at(5));
        link.failed(at(10), "broke".into());
        link.failed(at(20), "refused".into());
        assert_eq!((link.since, link.ever), (at(10), true));
        assert_eq!(link.problem.as_deref(), Some("refused"));
    }
}
