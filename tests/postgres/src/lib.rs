//! A real PostgreSQL for tests, and what may happen to one.
//!
//! [`shared`] is one server of the test process, in which each test makes a database of its own: that
//! takes some hundredths of a second. A test whose fault touches a whole server starts a [`Cluster`]:
//! a tenth of a second, and most of one for the first of a process. Everything ends with the test process, however that
//! ends. Nothing here knows a client library or a daemon; what cannot be had panics, as the test that
//! needs it has failed.
#![allow(
    clippy::unwrap_used,
    reason = "for tests, which end where something is not as it must be"
)]

mod cluster;
mod folder;
mod installed;
mod proxy;
mod psql;
mod template;
mod tls;
mod url;
mod wait;

use std::sync::LazyLock;

pub use cluster::{Backup, Cluster, Database, Setup};
pub use proxy::Proxy;
pub use psql::Rows;
pub use tls::{Authority, NAMES, authority};
pub use url::Url;

#[cfg(test)]
mod tests;

static SHARED: LazyLock<Cluster> = LazyLock::new(Cluster::start);

/// The server that all tests of this process share: for those that do nothing to a server but use a
/// database of it.
#[must_use]
pub fn shared() -> &'static Cluster {
    &SHARED
}
