//! Whether the control plane has fallen silent: decided here, without I/O.
//!
//! Whoever was itself kept from reading finds that nothing was heard, while the answer lies in its socket. So what
//! was not heard is looked for once more, after a while in which it can be read.

use std::time::Duration;

use tokio::time::Instant;

/// So long after a silence was found it is looked for again, before anything is done about it.
pub(super) const SURE_AFTER: Duration = Duration::from_millis(100);
/// Two signs of life are so far apart, at least: less than two pings are.
const APART: Duration = Duration::from_millis(400);

/// What is known of a silence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    /// What was heard last when it was found, and when that was.
    found: Option<(Instant, Instant)>,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing has to be done before then.
    LookAgain(Instant),
    /// Nothing was heard for longer than may be.
    Silent,
}

impl Silence {
    /// Looks at when something was heard last.
    pub(super) fn look(&mut self, heard_at: Instant, patience: Duration, now: Instant) -> Finding {
        let due = heard_at + patience;
        if now < due {
            self.found = None;
            return Finding::LookAgain(due);
        }
        let found_at = match self.found {
            Some((last, found_at)) if last == heard_at => found_at,
            _ => now,
        };
        self.found = Some((heard_at, found_at));
        let sure_at = found_at + SURE_AFTER;
        match now < sure_at {
            true => Finding::LookAgain(sure_at),
            false => Finding::Silent,
        }
    }
}

/// A control plane that is silent, while another is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    last: Instant,
    spoke_at: Option<Instant>,
}

impl Doubt {
    /// In one that was heard last then.
    pub(super) fn since(last: Instant) -> Self {
        Self {
            last,
            spoke_at: None,
        }
    }

    /// Whether it speaks again. One sign may be its own question, which is sent also by one that hears nothing.
    pub(super) fn is_over(&mut self, heard_at: Instant) -> bool {
        match self.spoke_at {
            Some(first) => heard_at >= first + APART,
            None => {
                self.spoke_at = Some(heard_at).filter(|at| *at > self.last);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(1_600);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Looks when it is told to, until there is silence; when that is.
    fn found_at(silence: &mut Silence, heard_at: Instant, mut now: Instant) -> Instant {
        loop {
            match silence.look(heard_at, PATIENCE, now) {
                Finding::LookAgain(at) => now = at,
                Finding::Silent => return now,
            }
        }
    }

    #[test]
    fn standstill_is_found_in_time() {
        let heard_at = Instant::now();
        let found = found_at(&mut Silence::default(), heard_at, heard_at);
        assert_eq!(found - heard_at, PATIENCE + SURE_AFTER);
    }

    /// We stood still, not the control plane: its answer is read as soon as we go on.
    #[test]
    fn own_standstill_is_no_silence() {
        let heard_at = Instant::now();
        let mut silence = Silence::default();
        let late = heard_at + Duration::from_secs(60);
        let again = Finding::LookAgain(late + SURE_AFTER);
        assert_eq!(silence.look(heard_at, PATIENCE, late), again);
        // Woken early, as by a message of somebody else.
        assert_eq!(silence.look(heard_at, PATIENCE, late + millis(1)), again);
        let read_at = late + millis(2);
        let next = Finding::LookAgain(read_at + PATIENCE);
        assert_eq!(silence.look(read_at, PATIENCE, late + SURE_AFTER), next);
    }

    #[test]
    fn doubt_is_over_with_the_second_sign_of_life() {
        let last = Instant::now();
        let mut doubt = Doubt::since(last);
        assert!(!doubt.is_over(last));
        let first = last + Duration::from_secs(2);
        assert!(!doubt.is_over(first));
        assert!(!doubt.is_over(first), "looked at twice");
        assert!(!doubt.is_over(first + millis(1)), "in two pieces");
        assert!(doubt.is_over(first + APART));
    }

    proptest! {
        /// Whatever happens, and however late it is looked: nothing that was heard within the patience is silence,
        /// nor is anything by one look.
        #[test]
        fn what_was_heard_in_time_is_no_silence(steps in vec((0..4_000u64, any::<bool>()), 0..60)) {
            let mut now = Instant::now();
            let (mut silence, mut heard_at, mut looks) = (Silence::default(), now, 0);
            for (later, is_heard) in steps {
                now += millis(later);
                if is_heard {
                    (heard_at, looks) = (now, 0);
                }
                let is_late = now - heard_at >= PATIENCE;
                looks += u32::from(is_late);
                match silence.look(heard_at, PATIENCE, now) {
                    Finding::Silent => prop_assert!(is_late && looks > 1),
                    Finding::LookAgain(at) => prop_assert!(at > now),
                }
            }
        }
    }
}
