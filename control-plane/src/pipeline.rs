//! The one-way flow of a credential inside the control plane, as types.
//!
//! Attested → Authorized → Linted → Logged → Signed → Published. Each step consumes the proof of
//! the last one and returns the next. A proof has no public constructor and is neither `Clone` nor
//! `Copy` (but [`Attested`], which is good for a session, and [`Published`], which nothing
//! consumes): it cannot be forged, and not be used twice. This is the whole flow:
//!
//! ```
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = authorize(registry, node, right, now)?;
//! let subject = Subject::svid(authorized, times, refused);
//! let prepared = |slot| prepare(subject, leaf, slot, issuer, now);
//! let logged = log.append(prepared).await?;
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! That nothing else compiles is shown in `pipeline/does_not_compile.rs`: each example there is
//! this one with a single line changed.

pub use countersign_model::EntitlementId;
pub use jiff::Timestamp;

pub use crate::attest::{AttestedNode as Attested, ProvenKey};
pub use crate::authority::{Authority, PublishedSvid as Published};
pub use crate::ca::keys::{CaKey, KeyError};
pub use crate::ca::log::{Log, Logged, Slot};
pub use crate::ca::sign::{Signed, sign};
pub use crate::issue::key::PublicKey;
pub use crate::issue::key::refused::RefusedKeys;
pub use crate::issue::lint::Finding;
pub use crate::issue::profile::{Issuer, ProfileTimes, Subject};
pub use crate::issue::{Linted, PrepareError, prepare};
pub use crate::registry::{Authorized, Registry, authorize};

#[cfg(doctest)]
mod does_not_compile;
