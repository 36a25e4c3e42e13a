//! What sidecars are told of the other control planes: where they are, and that one of them has fewer streams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_authority::Authority;
use countersign_fleet::balance::{Balance, Other, Wish};
use countersign_fleet::{Event, Fleet, Hub};
use countersign_proto::convert::addresses::MAX_ADDRESSES;
use jiff::Timestamp;
use tokio::time::Instant;

/// A stream that is younger is left alone: its sidecar has other things to do.
const SETTLED: Duration = Duration::from_secs(30);

/// What was told last.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    addresses: Mutex<Arc<[String]>>,
    balance: Mutex<Balance>,
}

impl Spread {
    /// Where the control planes are that are there, as far as they say.
    pub(crate) fn addresses(&self) -> Arc<[String]> {
        Arc::clone(&lock(&self.addresses))
    }

    /// Takes what is so now; whether that is something else than before.
    /// Where nobody else is `heard` now, the others may be there all the same: what was told of them stays.
    fn take(&self, mut addresses: Vec<String>, is_heard: bool) -> bool {
        let mut told = lock(&self.addresses);
        if !is_heard {
            let kept = told.iter().filter(|it| !addresses.contains(it)).cloned();
            let kept: Vec<_> = kept
                .take(MAX_ADDRESSES.saturating_sub(addresses.len()))
                .collect();
            addresses.extend(kept);
        }
        let is_new = **told != *addresses;
        if is_new {
            *told = addresses.into();
        }
        is_new
    }
}

impl Spread {
    /// Looks who else is there, tells it to every stream where that changed, and wishes some of them elsewhere
    /// where this control plane has clearly more than its share.
    pub(crate) fn look(
        &self,
        authority: &Authority,
        (hub, fleet): (&Hub, &Fleet),
        now: Timestamp,
        moment: Instant,
    ) {
        if self.take(authority.addresses(now), authority.is_writable()) {
            hub.announce(&Event::ControlPlanes);
        }
        let others = others(authority, now);
        if others.is_empty() {
            return;
        }
        let settled = now.checked_sub(SETTLED).unwrap_or(now);
        let wishes = lock(&self.balance).wishes(
            hub.count() as u64,
            |node| hub.is_connected(node),
            || fleet.movable(&hub.connected(), settled),
            &others,
            moment,
        );
        for Wish { node, address } in wishes {
            tracing::debug!(%node, address, "stream wished elsewhere");
            hub.wish(&node, &address);
        }
    }
}

/// The other control planes that can take streams.
fn others(authority: &Authority, now: Timestamp) -> Vec<Other> {
    let listed = authority.listed_replicas(now).into_iter();
    let live = listed.filter(|it| !it.answers && it.standing.state == "live");
    let other = live.filter_map(|it| {
        let said = it.said?;
        Some(Other {
            name: it.name,
            address: said.address?,
            streams: said.streams,
        })
    });
    other.collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
