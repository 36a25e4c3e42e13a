//! When a credential is renewed: pure arithmetic over its lifetime.
//!
//! A lifetime is counted from `issued_at` to `not_after`, never from the backdated NotBefore.
//! Only the sidecar starts a renewal, at a moment drawn inside the window that its entitlement
//! names: between 0.8 and 1.0 times `renew_at` of the lifetime.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The lower edge of the window, as a share of its upper edge.
pub const WINDOW_START: f64 = 0.8;
/// The share of the lifetime at which a renewal is due, where nothing else is configured.
pub const DEFAULT_RENEW_AT: f64 = 0.45;

/// From when until when a credential counts as alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// When the control plane issued it.
    pub issued_at: Timestamp,
    /// NotAfter of the certificate.
    pub not_after: Timestamp,
}

impl Lifetime {
    /// The length of the lifetime; zero where the times are reversed.
    pub fn length(&self) -> Duration {
        Duration::try_from(self.not_after.duration_since(self.issued_at)).unwrap_or_default()
    }

    /// What is left at `now`; zero once expired.
    pub fn remaining(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.not_after.duration_since(now)).unwrap_or_default()
    }

    /// Whether the credential is past its NotAfter.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now > self.not_after
    }
}

/// The share of the lifetime at whose end a renewal is due: above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct RenewalWindow(f64);

/// A share that is no share of a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("renew_at is a share of the lifetime, at least 0.01 and at most 0.9")]
pub struct RenewAtError;

impl RenewalWindow {
    /// A window that ends at `renew_at` of the lifetime (0.01 to 0.9).
    ///
    /// # Errors
    /// A share outside that range, or not a number.
    pub fn new(renew_at: f64) -> Result<Self, RenewAtError> {
        if (0.01..=0.9).contains(&renew_at) {
            Ok(Self(renew_at))
        } else {
            Err(RenewAtError)
        }
    }

    /// The upper edge, as a share of the lifetime.
    pub fn renew_at(self) -> f64 {
        self.0
    }

    /// The moment of renewal for a draw in `0.0..=1.0`.
    pub fn moment(self, lifetime: &Lifetime, draw: f64) -> Timestamp {
        let share = self.0 * (WINDOW_START + (1.0 - WINDOW_START) * draw.clamp(0.0, 1.0));
        let after = lifetime.length().mul_f64(share);
        lifetime
            .issued_at
            .checked_add(after)
            .unwrap_or(lifetime.not_after)
    }
}

impl Default for RenewalWindow {
    fn default() -> Self {
        Self(DEFAULT_RENEW_AT)
    }
}

impl TryFrom<f64> for RenewalWindow {
    type Error = RenewAtError;
    fn try_from(renew_at: f64) -> Result<Self, RenewAtError> {
        Self::new(renew_at)
    }
}

impl From<RenewalWindow> for f64 {
    fn from(window: RenewalWindow) -> Self {
        window.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lifetime(issued: i64, secs: i64) -> Lifetime {
        let at = |s| Timestamp::from_second(s).unwrap();
        Lifetime {
            issued_at: at(issued),
            not_after: at(issued + secs),
        }
    }

    #[test]
    fn default_window_of_an_hour() {
        let hour = lifetime(1_000, 3_600);
        let second = |draw| RenewalWindow::default().moment(&hour, draw).as_second();
        assert_eq!((second(0.0), second(1.0)), (1_000 + 1_296, 1_000 + 1_620));
    }

    #[test]
    fn shares_outside_a_lifetime_are_refused() {
        for share in [0.0, 0.001, 0.91, 1.0, -0.5, f64::NAN, f64::INFINITY] {
            assert_eq!(RenewalWindow::new(share), Err(RenewAtError));
        }
    }

    proptest! {
        #[test]
        fn a_renewal_always_falls_inside_its_window(
            renew_at in 0.01f64..=0.9, draw in -1.0f64..=2.0, secs in 1i64..=400_000_000,
        ) {
            let life = lifetime(1_700_000_000, secs);
            let moment = RenewalWindow::new(renew_at).unwrap().moment(&life, draw);
            prop_assert!(moment >= life.issued_at && moment < life.not_after);
            let spent = moment.duration_since(life.issued_at).as_secs_f64() / secs as f64;
            prop_assert!(spent >= WINDOW_START * renew_at - 1e-6 && spent <= renew_at + 1e-6);
        }
    }
}
