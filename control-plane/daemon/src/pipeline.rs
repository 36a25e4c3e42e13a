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
//! let prepared = |serial| prepare(subject, leaf, serial, issuer, now);
//! let logged = log.append(prepared).await?;
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! In production `Authority::issue` is that flow, in `control-plane/authority/src/issuing.rs`: these
//! steps in this order, and beside them the claim to the key and the right that is judged again.
//!
//! A node comes to be [`Attested`] by the verdict of an attestor, once that is committed:
//!
//! ```
//! # use countersign_control_plane::pipeline::*;
//! # fn attested(
//! #     attestor: &dyn Attestor, facts: &SessionFacts, nodes: &mut Nodes, seq: Seq,
//! # ) -> Result<Option<Attested>, Denied> {
//! let Verdict::Attests(attestation) = attestor.judge(facts)? else { return Ok(None) };
//! let stored = attestation.stored(None, facts.now);
//! nodes.written(attestation.node(), stored, seq);
//! let node = nodes.of_lineage(attestation.node(), seq);
//! # Ok(node)
//! # }
//! ```
//!
//! That nothing else compiles is shown in `pipeline/does_not_compile.rs`: each example there is
//! one of these with a single line changed.

pub use countersign_attest::attestor::{Attestation, SessionFacts, Verdict};
pub use countersign_attest::nodes::{Nodes, StoredNode};
pub use countersign_attest::{AttestedNode as Attested, Attestor, Method, ProvenKey};
pub use countersign_ca::key::{CaKey, KeyError};
pub use countersign_ca::log::{Log, Logged, NotLogged};
pub use countersign_ca::sign::{Signed, sign};
pub use countersign_issue::Finding;
pub use countersign_issue::key::PublicKey;
pub use countersign_issue::key::refused::RefusedKeys;
pub use countersign_issue::profile::{Issuer, ProfileTimes, Subject};
pub use countersign_issue::{Linted, PrepareError, prepare};
pub use countersign_model::{EntitlementId, Seq, SpiffeId};
pub use countersign_refusal::Denied;
pub use countersign_registry::{Authorized, Registry, authorize};
pub use jiff::Timestamp;

pub use countersign_authority::{Authority, PublishedSvid as Published};

#[cfg(doctest)]
mod does_not_compile;
