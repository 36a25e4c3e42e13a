//! The authority: everything that can change, behind one façade.
//!
//! Every write goes through here, is durable in the store before it is seen, and is announced as an
//! event. `now` and the source of random bytes are passed in everywhere.
//!
//! What changes has owners, and each keeps what it owns behind its one lock: `state` (nodes,
//! registrations, what is published, keys), `ledger` (the log and its books), `ca_hierarchy`
//! (CAs, key stores, bundle), `issuing` (one issuance of an entitlement at a time) and
//! `backing_up`. The other files say what is done with them, one file a topic; the order of the
//! locks is in `lock`.

mod acknowledging;
mod adopting;
mod answering;
mod archive;
mod asking;
mod attesting;
mod backing_up;
mod ca_hierarchy;
mod ca_requests;
mod ca_set;
mod clock_check;
mod database;
mod disk;
mod doubts;
mod errors;
mod evicting;
mod following;
mod heartbeat;
mod hierarchy;
mod identity;
mod importing;
mod inquiry;
mod issuing;
mod key_uses;
mod ledger;
mod levels;
mod listing;
mod lock;
mod log_keeping;
mod maintenance;
mod moving_keys;
mod opening;
mod overview;
mod published;
mod put_back;
mod reading;
mod reason;
mod record;
mod refused_keys;
mod registrations;
mod removal;
mod replicas;
mod restoring;
mod rollback;
mod rotation;
mod scratch;
pub mod series;
mod signatures;
mod snapshot;
mod state;
mod stored_cas;
mod streams;
mod succession;
mod taking_cas;
mod tokens;
mod undelivered;
mod unfinished;
mod values;
mod waiving;

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Weak};

pub use countersign_attest::{AttestedNode, ProvenKey};
pub use countersign_ca::key::{Condition, StoreKind, StoreState};
pub use countersign_ca::slots::SlotState;
pub use countersign_issue::profile::ProfileTimes;
pub use countersign_keys::Pkcs11Settings;
use countersign_model::Seq;
pub use countersign_registry::{Field, Mode, NoField, Policy, Written};
use countersign_restore::facts::Predecessor;
#[doc(hidden)]
pub use countersign_store::Shared as SharedDatabase;
use countersign_store::Store;
pub use countersign_store::postgres::Address as DatabaseAddress;

pub use backing_up::BackedUp;
use backing_up::Backups;
use ca_hierarchy::CaHierarchy;
pub use evicting::{Evicted, Eviction};
pub use following::Reached;
use identity::OwnFacts;
pub use issuing::ManualCertificate;
use issuing::Stripes;
use ledger::Ledger;
pub use levels::{Level, Levels};
pub use listing::{Judged, ListedNode};
pub use log_keeping::Retention;
pub use moving_keys::{GivenKey, MovedKey};
pub use overview::{EndpointOverview, NodeOverview};
pub use published::PublishedSvid;
pub use reason::{Act, Reason};
pub use registrations::MAX_APPLIED;
use replicas::Seals;
pub use replicas::{
    Invitation, InvitationError, ListedReplica, MAX_REPLICAS, RemovedReplica, Replica,
    SealedReplica, Sealing, check_name,
};
pub use series::{IssuanceSeries, Phase};
use state::SharedState;
pub use state::{Heartbeat, Waiver};
pub use streams::Elsewhere;
pub use values::{
    Applied, AuthorityError, AuthorityInfo, CaRequest, Hierarchy, IssuingReplica,
    RegistrationRequest, Removed, ServerIdentity, Settings, StoreSettings, Tiers,
};
pub use waiving::ABSENT;

/// Everything that can change, in the hands of its owners. What each owns it alone touches; the
/// order of their locks is that of `lock`.
#[derive(Debug)]
pub struct Authority {
    /// Itself, for writes that outlive their caller.
    this: Weak<Self>,
    settings: Settings,
    epoch: u64,
    /// Where a restore took the state from, and the commit that says so.
    predecessor: Option<(Predecessor, Seq)>,
    /// Names in the store of what is about this control plane alone.
    facts: OwnFacts,
    /// What makes a change durable.
    store: Arc<Store>,
    /// One logged change at a time; enrolments do not wait for it.
    writing: tokio::sync::Mutex<()>,
    /// One log is sealed at a time: they share no folder, but the database.
    sealing: Seals,
    /// Nodes, registrations, what is published, keys.
    state: SharedState,
    /// The log, and the books that are kept of it.
    ledger: Ledger,
    /// CAs, key stores, bundle.
    hierarchy: CaHierarchy,
    /// One issuance of an entitlement at a time.
    enrolling: Stripes,
    /// Where backups are made, one at a time.
    backups: Backups,
    metrics: IssuanceSeries,
    /// The newest time that was told, in nanoseconds.
    told_now: AtomicI64,
    /// When the other control planes were last told of this one, in seconds.
    said_at: AtomicI64,
}

#[cfg(test)]
mod tests;
