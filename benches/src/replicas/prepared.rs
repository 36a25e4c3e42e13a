//! A fleet that attested and holds a certificate each, and the two control planes that know it.

use std::cell::Cell;
use std::iter::once;
use std::time::Duration;

use anyhow::{Context, Result};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::ENTITLEMENT_TYPE;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::fleet::{Fleet, Manner, Member};
use super::planes;
use crate::issuance::fleet::enrol_again;
use crate::issuance::plane::{Plane, until};
use crate::issuance::sidecar::Node;
use crate::issuance::stream::Held;

/// Sidecars that attest at a time: the control plane cuts handshakes beyond a thousand.
const DIALLING: usize = 256;
/// The node itself and its workload.
const IDENTITIES: usize = 2;
/// All commits of the one are known to the other in this time.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(60);

/// Sidecars that are not connected, and two control planes on a database.
pub struct Prepared {
    /// Where they attested, and were given all that they hold.
    pub first: Plane,
    /// Which has only followed.
    pub second: Plane,
    /// Each of one workload.
    pub members: Vec<Member>,
    /// How they wait.
    pub manner: Manner,
    /// The number of the next workload that is registered for a change.
    pub(super) next_place: Cell<usize>,
}

impl Prepared {
    /// Starts the control planes, attests so many nodes and has an identity of each certified.
    ///
    /// # Errors
    /// A control plane refuses.
    pub async fn start(sidecars: usize, manner: Manner) -> Result<Self> {
        let mut planes = planes::start_hastily(&["a", "b"]).await?.into_iter();
        let (first, second) = (planes.next(), planes.next());
        let (first, second) = first.zip(second).context("two were started")?;
        let (mut names, mut tokens) = (Vec::new(), Vec::new());
        for node in 0..sidecars {
            // One after another: acts side by side overtake each other, and are judged again.
            names.extend(first.admin.register(once((node, 0))).await?);
            tokens.extend(first.admin.tokens(once(node)).await?);
        }
        let joined = tokens.iter().zip(names.chunks(1));
        let joined = joined.map(|(token, names)| join(&first, token, names));
        let members = stream::iter(joined).buffered(DIALLING);
        let members = members.try_collect().await?;
        let prepared = Self {
            first,
            second,
            members,
            manner,
            next_place: Cell::new(1),
        };
        prepared.caught_up().await?;
        Ok(prepared)
    }

    /// Connects all of them to the first control plane.
    ///
    /// # Errors
    /// Not all of them come.
    pub async fn connect(&mut self) -> Result<Fleet> {
        let mut fleet = Fleet::new(self.first.address, self.manner);
        for member in std::mem::take(&mut self.members) {
            fleet.add(member);
        }
        fleet.connected(fleet.size(), CAUGHT_UP_WITHIN).await?;
        Ok(fleet)
    }

    /// Waits until the second control plane knows all that the first does.
    async fn caught_up(&self) -> Result<()> {
        until(CAUGHT_UP_WITHIN, async || {
            let [ours, theirs] = [
                self.first.admin.status().await?,
                self.second.admin.status().await?,
            ];
            let is_same =
                (ours.sequence, ours.svids_issued) == (theirs.sequence, theirs.svids_issued);
            is_same.then_some(()).context("the second is behind")
        })
        .await
    }
}

async fn join(plane: &Plane, token: &str, names: &[String]) -> Result<Member> {
    let node = Node::attest(plane.address, token).await?;
    let mut sidecar = node.connect(plane.address).await?;
    enrol_again(&mut sidecar, names).await?;
    let has = |held: &Held, type_url, many| held.count(type_url) >= many;
    while !(has(&sidecar.held, ENTITLEMENT_TYPE, IDENTITIES)
        && has(&sidecar.held, SECRET_TYPE, IDENTITIES + 1))
    {
        sidecar.next().await?;
    }
    let held = sidecar.held.with_chain(node.identity().0);
    Ok(Member::new(node, held))
}
