//! How long it takes from an act at one control plane to the stream of a sidecar of another.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use countersign_model::EntitlementId;
use countersign_proto::ENTITLEMENT_TYPE;
use futures_util::future::try_join;
use tokio::time::timeout;

use super::notice::Notices;
use super::planes;
use crate::issuance::cost::BATCH;
use crate::issuance::fleet::enrol_again;
use crate::issuance::plane::Plane;
use crate::issuance::report::{Report, median, quantile};
use crate::issuance::sidecar::{Node, Sidecar};
use crate::issuance::stream::Arrived;

/// Acts of one comparison.
const ACTS: usize = 400;
/// One is on the stream in this time, or something is wrong.
const BOUND: Duration = Duration::from_secs(10);
/// The node whose stream is at the second control plane, and the one that issues at the first.
const READER: usize = 0;
const ISSUER: usize = 1;

/// Quiet, then while the first control plane issues as fast as it can.
///
/// # Errors
/// A control plane does not start, or refuses.
pub async fn across(report: Report) -> Result<()> {
    let planes = planes::start(&["a", "b"]).await?;
    let [first, second] = &planes[..] else {
        unreachable!("two were started");
    };
    let mut notices = Notices::start().await?;
    let mut reader = connect(second, READER).await?;
    let own = arrival(&mut reader).await?;
    ensure!(own == [EntitlementId::node().as_str()], "{own:?}");
    measure(
        report,
        "quiet",
        (first, &mut reader),
        &mut notices,
        (0..ACTS).collect(),
    )
    .await?;

    let pairs = (0..BATCH).map(|workload| (ISSUER, workload));
    let names = first.admin.register(pairs).await?;
    let mut issuer = connect(first, ISSUER).await?;
    let issued = async {
        loop {
            enrol_again(&mut issuer, &names).await?;
        }
        #[allow(unreachable_code, reason = "names the type of the error")]
        Ok::<(), anyhow::Error>(())
    };
    let title = "while the first control plane issues batches of 100";
    let acts = (ACTS..2 * ACTS).collect();
    tokio::select! {
        measured = measure(report, title, (first, &mut reader), &mut notices, acts) => measured,
        ended = issued => ended,
    }
}

async fn connect(plane: &Plane, node: usize) -> Result<Sidecar> {
    let tokens = plane.admin.tokens(std::iter::once(node)).await?;
    let node = Node::attest(plane.address, &tokens[0]).await?;
    node.connect(plane.address).await
}

/// One act after another: a workload of the reader's node is registered.
async fn measure(
    report: Report,
    title: &str,
    (plane, reader): (&Plane, &mut Sidecar),
    notices: &mut Notices,
    workloads: Vec<usize>,
) -> Result<()> {
    let (mut whole, mut answered, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut least = Vec::new();
    for workload in workloads {
        let primitive = notices.one().await?;
        let begun = Instant::now();
        let register = async {
            let pairs = std::iter::once((READER, workload));
            let names = plane.admin.register(pairs).await?;
            let name = names.into_iter().next().context("no entitlement")?;
            anyhow::Ok((name, Instant::now()))
        };
        let arrive = async { anyhow::Ok((arrival(reader).await?, Instant::now())) };
        let both = timeout(BOUND, try_join(register, arrive)).await;
        let ((name, answer), (arrived, at)) = both.context("it does not come")??;
        ensure!(arrived == [name.clone()], "{arrived:?}, not {name}");
        whole.push(at - begun);
        answered.push(at.saturating_duration_since(answer));
        ratios.push((at - begun).div_duration_f64(primitive));
        least.push(primitive);
    }
    report.title(&format!(
        "from an act at one control plane to a stream of another, {title}"
    ));
    let named = [
        (
            "primitive: a commit and its notice",
            &least as &Vec<Duration>,
        ),
        ("from the call", &whole),
        ("from its answer: the commit is durable", &answered),
    ];
    for (name, times) in named {
        for (which, share) in [("p50", 0.5), ("p99", 0.99)] {
            let millis = quantile(times, share).as_secs_f64() * 1e3;
            report.figure(&format!("{name}, {which}"), millis, "ms");
        }
    }
    report.figure("from the call, to the primitive", median(ratios), "×");
    Ok(())
}

/// The names of the entitlements that come next.
async fn arrival(reader: &mut Sidecar) -> Result<Vec<String>> {
    loop {
        if let Arrived::Resources {
            type_url,
            resources,
        } = reader.next().await?
            && type_url == ENTITLEMENT_TYPE
        {
            return Ok(resources.into_iter().map(|(name, _)| name).collect());
        }
    }
}
