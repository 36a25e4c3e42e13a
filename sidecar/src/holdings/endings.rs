//! Credentials that end. Nothing is published when one does, and what is shown to whom depends on it:
//! another right to the same identity may have a credential that is valid.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Holdings;
use crate::clock::Clock;

/// How long after its end those are told who follow a credential, at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Tells, as long as this process runs, those who follow a credential that has ended.
pub(crate) async fn tell(holdings: Arc<Holdings>, clock: Clock) {
    let (mut before, mut last) = (clock.now(), clock.now());
    loop {
        sleep(LOOK_EVERY).await;
        let now = clock.now();
        // Also what had ended at the last look: a stream that looked just before the end may have
        // said just after that look what it follows.
        holdings.tell_ended(before, now);
        (before, last) = (last, now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use countersign_model::Serial;
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::holdings::{Followed, Held, Interest};
    use crate::pki;

    fn name(path: &str) -> Interest {
        Interest::Only(Followed {
            names: [format!("spiffe://example.org{path}").into()].into(),
            ..Followed::default()
        })
    }

    /// A credential that ended wakes who follows it within two looks, and nobody else.
    #[tokio::test(start_paused = true)]
    async fn end_of_a_credential_wakes_its_followers() {
        let (holdings, ca) = (Holdings::new(), pki::Authority::new("ca"));
        let end: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        for (digit, path, after) in [('1', "/web", 0), ('2', "/db", 3_600)] {
            let entitlement = Arc::new(pki::right(digit, path, 1));
            let serial = Serial::new(0x01_0000, u64::from(digit), [7; 8]).unwrap();
            let mut svid = ca.expired(&entitlement.spiffe_id, serial);
            svid.lifetime.not_after = end + SignedDuration::from_secs(after);
            let held = Held {
                entitlement: entitlement.clone(),
                svid: Some(Arc::new(svid)),
                problem: None,
            };
            holdings.publish(|snapshot| {
                Arc::make_mut(&mut snapshot.entries).insert(entitlement.id.clone(), held);
            });
        }
        let [web, db] = ["/web", "/db"].map(|path| {
            let follower = holdings.follow();
            follower.follow(name(path), holdings.load().generation);
            follower
        });
        let shown = Arc::new(Mutex::new(end));
        let clock = Clock::new({
            let shown = shown.clone();
            move || *shown.lock().unwrap()
        });
        let telling = tokio::spawn(tell(holdings.clone(), clock));
        sleep(3 * LOOK_EVERY).await;
        assert!(!web.take_due() && !db.take_due(), "both are valid");
        *shown.lock().unwrap() = end + SignedDuration::from_secs(1);
        web.due().await;
        assert!(web.take_due() && !db.take_due());
        sleep(3 * LOOK_EVERY).await;
        web.take_due();
        sleep(3 * LOOK_EVERY).await;
        assert!(!web.take_due() && !db.take_due(), "said twice at most");
        telling.abort();
    }
}
