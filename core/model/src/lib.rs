//! The domain of Countersign: plain types and pure decisions.
//!
//! Both daemons speak in these types. Nothing here awaits, reads a file, a socket or a clock:
//! whatever depends on time takes `now`. A value that exists has passed its own rules, so a
//! [`SpiffeId`] is always valid and a [`SelectorSet`] is never empty by accident.

pub mod address;
pub mod entitlement;
pub mod entropy;
pub mod nap;
pub mod registration;
pub mod schedule;
pub mod selector;
pub mod serial;
pub mod serial_prefix;
pub mod spiffe_id;
pub mod tables;
mod time;

pub use entitlement::{Entitlement, EntitlementId, EntitlementKind};
pub use nap::{LONGEST_NAP, nap};
pub use registration::{Criticality, Hint, HintError, Parent, Registration, RegistrationKey};
pub use schedule::{Lifetime, RenewalWindow};
pub use selector::{Claimed, Selector, SelectorError, SelectorSet};
pub use serial::{Coordinate, Serial, SerialError};
pub use serial_prefix::{SerialPrefix, SerialPrefixError};
pub use spiffe_id::{IdRule, SpiffeId, SpiffeIdError, TrustDomain};
pub use time::{Seq, whole_second};
