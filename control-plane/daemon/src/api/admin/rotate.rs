//! Rotations: started here, completed by the fleet, told step by step to whoever waits.
//!
//! A caller that goes away changes nothing: the root is activated by the gatekeeper of
//! [`lifecycle`](crate::lifecycle), whoever asked for it.

use std::sync::Arc;
use std::time::Duration;

use countersign_authority::{AuthorityInfo, SlotState, Tiers};
use countersign_model::EntitlementId;
use countersign_proto::admin::RotateProgress;
use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::refusing::refused;
use super::{Operator, Progress, waivers};
use crate::plane::{Laggard, Plane, Waiting};

/// Steps that wait for a slow reader.
const MAX_QUEUED_STEPS: usize = 16;
/// What time alone changes is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Prepares a new root; activation follows when the gate opens.
pub(super) async fn root(
    plane: &Arc<Plane>,
    operator: Operator,
    wait: bool,
) -> Result<Response<Progress>, Status> {
    let prepared = plane.authority.prepare_root(plane.clock.now()).await;
    let prepared = prepared.map_err(|error| refused(plane, operator, &error))?;
    plane.fleet.touch();
    Ok(follow(plane, prepared, ROOT, wait))
}

/// Makes a new issuing CA that signs from now on.
pub(super) async fn issuing(
    plane: &Arc<Plane>,
    operator: Operator,
    wait: bool,
) -> Result<Response<Progress>, Status> {
    let made = plane.authority.rotate_issuing(plane.clock.now()).await;
    let made = made.map_err(|error| refused(plane, operator, &error))?;
    Ok(follow(plane, made, ISSUING, wait))
}

/// Makes a new intermediate, and an issuing CA under it that signs from now on.
pub(super) async fn intermediate(
    plane: &Arc<Plane>,
    operator: Operator,
    wait: bool,
) -> Result<Response<Progress>, Status> {
    let now = plane.clock.now();
    let made = plane.authority.rotate_intermediate(now).await;
    let made = made.map_err(|error| refused(plane, operator, &error))?;
    Ok(follow(plane, made, ISSUING, wait))
}

/// How a kind of rotation is told.
#[derive(Clone, Copy)]
struct Rotation {
    /// The state that it begins in.
    first: &'static str,
    /// How far it is: whom it waits for, `None` once nobody is waited for any more.
    step: fn(&Plane, &AuthorityInfo) -> Option<Waiting>,
    /// The states that it ends with.
    last: &'static [&'static str],
}

const ROOT: Rotation = Rotation {
    first: "prepared",
    step: root_step,
    last: &["activated", "complete"],
};
const ISSUING: Rotation = Rotation {
    first: "activated",
    step: issuing_step,
    last: &["complete"],
};

fn root_step(plane: &Plane, root: &AuthorityInfo) -> Option<Waiting> {
    let (roots, _) = plane.authority.authorities();
    let now = roots.iter().find(|slot| slot.key_id == root.key_id);
    let pending = now.is_some_and(|slot| slot.state == SlotState::Prepared);
    pending.then(|| plane.waiting_for())
}

/// Every connected node has acknowledged chains under the new issuing CA for all its workloads.
/// The node's own credential follows in its own window: nobody but us validates it.
fn issuing_step(plane: &Plane, issuing: &AuthorityInfo) -> Option<Waiting> {
    let successors = successors(plane, issuing);
    let connected = plane.hub.connected();
    let mut behind: Vec<_> = connected
        .iter()
        .flat_map(|node| {
            let state = plane.fleet.node(node);
            let entitlements = plane.authority.entitlements(node).into_iter();
            let workloads = entitlements.filter(|it| it.id != EntitlementId::node());
            let successors = &successors;
            workloads.filter_map(move |it| {
                let svid = plane.authority.published(node, &it.id)?;
                let current = svid.chain().iter().any(|ca| successors.contains(ca));
                let acknowledged = state.acknowledged.get(&it.id);
                let installed = acknowledged.is_some_and(|held| *held == svid.serial);
                let expired = svid.lifetime.is_expired(plane.clock.now());
                let behind = !expired && (!current || !installed);
                behind.then(|| Laggard {
                    name: format!("{node} {}", it.spiffe_id),
                    connected: true,
                    replica: None,
                    until: None,
                })
            })
        })
        .collect();
    behind.sort();
    (!behind.is_empty()).then(|| Waiting::of(behind))
}

/// The rotated CA and those of its tier made after it: who renews under a newer one has left the
/// old ones too. Who has one of another replica's issuing CA was never under the old ones.
fn successors(plane: &Plane, rotated: &AuthorityInfo) -> Vec<CertificateDer<'static>> {
    let Tiers {
        intermediates,
        issuing,
        ..
    } = plane.authority.tiers();
    // Newest first.
    let newer = |tier: Vec<AuthorityInfo>| {
        let at = tier.iter().position(|it| it.key_id == rotated.key_id);
        let tier = tier.into_iter().enumerate();
        let follows = move |place: usize, it: &AuthorityInfo| {
            at.is_some_and(|at| place <= at || it.replica != rotated.replica)
        };
        let tier = tier.filter(move |(place, it)| follows(*place, it));
        tier.map(|(_, it)| it.certificate)
    };
    newer(intermediates).chain(newer(issuing)).collect()
}

fn follow(
    plane: &Arc<Plane>,
    authority: AuthorityInfo,
    rotation: Rotation,
    wait: bool,
) -> Response<Progress> {
    let (steps, stream) = mpsc::channel(MAX_QUEUED_STEPS);
    let plane = plane.clone();
    let stopping = plane.stopping.clone();
    plane.tasks.clone().spawn(async move {
        let tell = tell(&plane, &authority, rotation, wait, &steps);
        tokio::select! {
            _ = tell => {}
            () = steps.closed() => {}
            () = stopping.cancelled() => {
                let _ = steps.try_send(Err(Status::unavailable("the control plane is stopping")));
            }
        }
    });
    Response::new(Box::pin(ReceiverStream::new(stream)))
}

/// Tells each step that differs from the last one, until the rotation is complete or the caller
/// went away.
async fn tell(
    plane: &Plane,
    authority: &AuthorityInfo,
    Rotation { first, step, last }: Rotation,
    wait: bool,
    steps: &mpsc::Sender<Result<RotateProgress, Status>>,
) -> Option<()> {
    let progress = |state: &str, waiting: Waiting| RotateProgress {
        state: state.to_owned(),
        key_id: authority.key_id.clone(),
        waiting_for: waiting.names(),
        waiting_for_more: waiting.more,
        laggards: waivers::laggards(&waiting),
    };
    let mut changes = plane.fleet.changes();
    let waiting = step(plane, authority).unwrap_or_default();
    steps.send(Ok(progress(first, waiting))).await.ok()?;
    if !wait {
        return Some(());
    }
    let mut told = None;
    loop {
        let Some(waiting) = step(plane, authority) else {
            for state in last {
                let over = progress(state, Waiting::default());
                steps.send(Ok(over)).await.ok()?;
            }
            return Some(());
        };
        if told.as_ref() != Some(&waiting) {
            let step = progress("waiting", waiting.clone());
            steps.send(Ok(step)).await.ok()?;
            told = Some(waiting);
        }
        // Changed by the fleet, or by time and the authority.
        let _ = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
    }
}
