//! Lines that a peer can cause: each principal has a small share, all together stay below 200 lines
//! a second, whatever strangers do.
//!
//! Every line at info or above that a peer can cause, once or a million times, is written through
//! [`peer_line!`](crate::peer_line), which takes the level, the [`Principal`] that caused it, and
//! then what [`tracing`]'s macros take:
//!
//! ```
//! use countersign_telemetry::{Principal, peer_line};
//!
//! let (uid, address) = (1000, std::net::Ipv4Addr::LOCALHOST.into());
//! peer_line!(WARN, Principal::uid(uid), uid, reason = "not registered", "caller refused");
//! peer_line!(INFO, Principal::source(address).at("web"), %address, "handshake refused");
//! peer_line!(WARN, Principal::identity("spiffe://example.org/node/a"), "update refused");
//! ```
//!
//! Who is named must be proved: a user by the kernel, an identity by its certificate. Whoever is
//! not known is its address. The kinds are limited apart, so that strangers cannot hide what
//! nodes do. How many lines of its kind were left out is the field `left_out` of the next line;
//! where none follows, a summary tells it within [`SUMMARY_INTERVAL`]. Lines at debug are for an
//! operator who looks for something, and need no limit; nor do lines that only an operator causes.
//! Libraries know nothing of this: all of them are one part of this process, see the module `libraries`.

pub(crate) mod limit;

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::sleep;

use self::limit::LineLimit;

/// How long lines that were left out wait for a line that tells of them.
pub const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

/// Who caused a line. Small: a kind and a hash of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    kind: Kind,
    key: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Source,
    Identity,
    Uid,
    Part,
}

impl Principal {
    /// A stranger, by its address. Who has one IPv6 address has the /56 around it, and who is on
    /// this machine has every loopback address.
    pub fn source(address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            local if local.is_loopback() => u128::from(Ipv4Addr::LOCALHOST.to_bits()),
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits() >> 72 << 72,
        };
        Self::new(Kind::Source, network)
    }

    /// A peer whose certificate proved this SPIFFE ID.
    pub fn identity(spiffe_id: &str) -> Self {
        Self::new(Kind::Identity, spiffe_id)
    }

    /// A local user, by the kernel's word.
    pub fn uid(uid: u32) -> Self {
        Self::new(Kind::Uid, uid)
    }

    /// A part of this process whose trouble every call meets, such as a store on a full disk: who
    /// calls then causes lines, but whoever it is says nothing.
    pub fn part(name: &'static str) -> Self {
        Self::new(Kind::Part, name)
    }

    /// The same principal at one listener: its share there is its own.
    #[must_use]
    pub fn at(self, listener: &str) -> Self {
        Self::new(self.kind, (self.key, listener))
    }

    fn new(kind: Kind, name: impl Hash) -> Self {
        Self {
            kind,
            key: KEYS.hash_one(name),
        }
    }
}

/// Keyed by chance: nobody finds a name that shares the place of another.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
static LIMITS: LazyLock<[Mutex<LineLimit>; 4]> = LazyLock::new(Default::default);
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
/// Something was left out since the last summary.
static PENDING: Notify = Notify::const_new();

/// Whether a line that `principal` causes is written: how many lines of its kind were left out
/// before it, `None` where it is left out as well. For [`peer_line!`](crate::peer_line).
#[doc(hidden)]
pub fn admit(principal: Principal) -> Option<u64> {
    let limit = &LIMITS[principal.kind as usize];
    let mut limit = limit.lock().unwrap_or_else(PoisonError::into_inner);
    let admitted = limit.admit(principal.key, Instant::now().into_std());
    drop(limit);
    note(admitted.is_some());
    admitted
}

/// Whether one more line of a library is written. They cannot say how many were left out before it:
/// the next line of a part of this process does, or the summary.
pub(crate) fn admit_library() -> bool {
    let libraries = Principal::part("libraries");
    let limit = LIMITS[libraries.kind as usize].lock();
    let mut limit = limit.unwrap_or_else(PoisonError::into_inner);
    let admitted = limit.admit_untold(libraries.key, Instant::now().into_std());
    drop(limit);
    note(admitted);
    admitted
}

fn note(admitted: bool) {
    if !admitted {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        PENDING.notify_one();
    }
}

/// Lines that were left out since the process started, for a metric.
pub(crate) fn left_out_total() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Tells what was left out where no other line does, until dropped. Sleeps while nothing is.
pub(crate) async fn summarize() {
    loop {
        PENDING.notified().await;
        sleep(SUMMARY_INTERVAL).await;
        tell_left_out();
    }
}

/// Writes the summary, if something was left out and not told.
pub(crate) fn tell_left_out() {
    let kinds = [Kind::Source, Kind::Identity, Kind::Uid, Kind::Part];
    let [sources, identities, uids, parts] = kinds.map(|kind| {
        let limit = LIMITS[kind as usize].lock();
        let mut limit = limit.unwrap_or_else(PoisonError::into_inner);
        limit.take_left_out()
    });
    if sources + identities + uids + parts > 0 {
        tracing::warn!(
            sources,
            identities,
            uids,
            parts,
            "lines about peers were left out"
        );
    }
}

/// Writes a line that a peer caused, unless too many were written: level, principal, and then what
/// [`tracing::event!`] takes. See [`peer_lines`](crate::peer_lines).
#[macro_export]
macro_rules! peer_line {
    ($level:ident, $principal:expr, $($line:tt)+) => {
        // What is filtered out takes nothing from the share.
        if $crate::tracing::event_enabled!($crate::tracing::Level::$level)
            && let Some(left_out) = $crate::peer_lines::admit($principal)
        {
            let left_out = (left_out > 0).then_some(left_out);
            $crate::tracing::event!($crate::tracing::Level::$level, left_out, $($line)+);
        }
    };
}

#[cfg(test)]
mod tests;
