//! What the types of the pipeline refuse. Every example is one of [`super`] with one line changed;
//! those compile, so it is the change that does not.
//!
//! A verdict that no attestor gave:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # fn attested(
//! #     attestor: &dyn Attestor, facts: &SessionFacts, nodes: &mut Nodes, seq: Seq,
//! #     node: &SpiffeId,
//! # ) -> Result<Option<Attested>, Denied> {
//! let attestation = Attestation { node: node.clone(), method: Method::JoinToken, spent: None };
//! let stored = attestation.stored(None, facts.now);
//! nodes.written(attestation.node(), stored, seq);
//! let node = nodes.of_lineage(attestation.node(), seq);
//! # Ok(node)
//! # }
//! ```
//!
//! A claim taken for a verdict:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # fn attested(
//! #     attestor: &dyn Attestor, facts: &SessionFacts, nodes: &mut Nodes, seq: Seq,
//! # ) -> Result<Option<Attested>, Denied> {
//! let attestation = attestor.node()?;
//! let stored = attestation.stored(None, facts.now);
//! nodes.written(attestation.node(), stored, seq);
//! let node = nodes.of_lineage(attestation.node(), seq);
//! # Ok(node)
//! # }
//! ```
//!
//! Evidence that was only screened:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # fn attested(
//! #     attestor: &dyn Attestor, facts: &SessionFacts, nodes: &mut Nodes, seq: Seq,
//! # ) -> Result<Option<Attested>, Denied> {
//! let attestation = attestor.screen(facts)?;
//! let stored = attestation.stored(None, facts.now);
//! nodes.written(attestation.node(), stored, seq);
//! let node = nodes.of_lineage(attestation.node(), seq);
//! # Ok(node)
//! # }
//! ```
//!
//! What is stored of a node that nobody attested:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # fn attested(
//! #     attestor: &dyn Attestor, facts: &SessionFacts, nodes: &mut Nodes, seq: Seq,
//! # ) -> Result<Option<Attested>, Denied> {
//! let Verdict::Attests(attestation) = attestor.judge(facts)? else { return Ok(None) };
//! let stored = StoredNode { attested_at: facts.now, method: Method::JoinToken, evicted: None, ended_by: Seq(0) };
//! nodes.written(attestation.node(), stored, seq);
//! let node = nodes.of_lineage(attestation.node(), seq);
//! # Ok(node)
//! # }
//! ```
//!
//! A node that attested a second time by changing what is stored:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # fn attested(
//! #     attestor: &dyn Attestor, facts: &SessionFacts, nodes: &mut Nodes, seq: Seq,
//! # ) -> Result<Option<Attested>, Denied> {
//! let Verdict::Attests(attestation) = attestor.judge(facts)? else { return Ok(None) };
//! let stored = StoredNode { attested_at: facts.now, ..nodes.stored(attestation.node()).cloned().unwrap() };
//! nodes.written(attestation.node(), stored, seq);
//! let node = nodes.of_lineage(attestation.node(), seq);
//! # Ok(node)
//! # }
//! ```
//!
//! A node recognised without an attestor:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # fn attested(
//! #     attestor: &dyn Attestor, facts: &SessionFacts, nodes: &mut Nodes, seq: Seq,
//! # ) -> Result<Option<Attested>, Denied> {
//! let Verdict::Attests(attestation) = attestor.judge(facts)? else { return Ok(None) };
//! let stored = attestation.stored(None, facts.now);
//! nodes.written(attestation.node(), stored, seq);
//! let node = nodes.recognise(attestation.node(), &facts.spki_sha256);
//! # Ok(node)
//! # }
//! ```
//!
//! A proof of attestation made by hand:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # fn attested(
//! #     attestor: &dyn Attestor, facts: &SessionFacts, nodes: &mut Nodes, seq: Seq,
//! # ) -> Result<Option<Attested>, Denied> {
//! let Verdict::Attests(attestation) = attestor.judge(facts)? else { return Ok(None) };
//! let stored = attestation.stored(None, facts.now);
//! nodes.written(attestation.node(), stored, seq);
//! let node = Some(Attested { id: attestation.node().clone(), method: Method::JoinToken, lineage: seq });
//! # Ok(node)
//! # }
//! ```
//!
//! A node that nobody attested:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let node = &Attested { id: todo!() };
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
//! An authorization that no registration gave:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = Authorized { ..todo!() };
//! let subject = Subject::svid(authorized, times, refused);
//! let prepared = |serial| prepare(subject, leaf, serial, issuer, now);
//! let logged = log.append(prepared).await?;
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A node as a subject, without an authorization:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = authorize(registry, node, right, now)?;
//! let subject = Subject::svid(node, times, refused);
//! let prepared = |serial| prepare(subject, leaf, serial, issuer, now);
//! let logged = log.append(prepared).await?;
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A certificate that was not linted, in the log:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = authorize(registry, node, right, now)?;
//! let subject = Subject::svid(authorized, times, refused);
//! let prepared = |_| Ok::<_, PrepareError>(subject);
//! let logged = log.append(prepared).await?;
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! An authorization used for two certificates:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = authorize(registry, node, right, now)?;
//! let first = Subject::svid(authorized, times, refused.clone());
//! let subject = Subject::svid(authorized, times, refused);
//! let prepared = |serial| prepare(subject, leaf, serial, issuer, now);
//! let logged = log.append(prepared).await?;
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A subject used for two certificates:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = authorize(registry, node, right, now)?;
//! let subject = Subject::svid(authorized, times, refused);
//! let prepared = |serial| prepare(subject, leaf, serial, issuer, now);
//! let second = |serial| prepare(subject, leaf, serial, issuer, now);
//! let logged = log.append(prepared).await?;
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A linted certificate in the log twice:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>, serial: countersign_model::Serial,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = authorize(registry, node, right, now)?;
//! let subject = Subject::svid(authorized, times, refused);
//! let linted = prepare(subject, leaf, serial, issuer, now)?;
//! let prepared = |_| Ok(linted);
//! log.append(prepared).await?;
//! let logged = log.append(prepared).await?;
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A linted certificate, signed before it is in the log:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = authorize(registry, node, right, now)?;
//! let subject = Subject::svid(authorized, times, refused);
//! let prepared = |serial| prepare(subject, leaf, serial, issuer, now);
//! let logged: Linted = todo!();
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A log entry that nothing wrote:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = authorize(registry, node, right, now)?;
//! let subject = Subject::svid(authorized, times, refused);
//! let prepared = |serial| prepare(subject, leaf, serial, issuer, now);
//! log.append(prepared).await?;
//! let logged = Logged { ..todo!() };
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! An entry that is not durable yet:
//!
//! ```compile_fail
//! # use countersign_control_plane::pipeline::*;
//! # async fn flow(
//! #     registry: &Registry, node: &Attested, right: &EntitlementId, leaf: &PublicKey, log: &Log,
//! #     issuer: &Issuer, key: &dyn CaKey, authority: &Authority, now: Timestamp,
//! #     times: &ProfileTimes, refused: std::sync::Arc<RefusedKeys>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let authorized = authorize(registry, node, right, now)?;
//! let subject = Subject::svid(authorized, times, refused);
//! let prepared = |serial| prepare(subject, leaf, serial, issuer, now);
//! let logged = log.append(prepared);
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! An entry signed twice:
//!
//! ```compile_fail
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
//! sign(logged, key)?;
//! let signed = sign(logged, key)?;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! An entry published without a signature:
//!
//! ```compile_fail
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
//! let signed = logged;
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A signature from elsewhere:
//!
//! ```compile_fail
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
//! sign(logged, key)?;
//! let signed = Signed { ..todo!() };
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A signed certificate copied:
//!
//! ```compile_fail
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
//! authority.publish(node, signed.clone(), now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A signed certificate published twice:
//!
//! ```compile_fail
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
//! authority.publish(node, signed, now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A published SVID that nobody signed:
//!
//! ```compile_fail
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
//! let forged = Published { ..todo!() };
//! # Ok(())
//! # }
//! ```
