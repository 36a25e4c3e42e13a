//! What a collector of traces sees of an issuance.

use anyhow::Result;
use countersign_tests::collector::Collector;
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Mesh, Registration, wait};

use crate::scene::WEB;

#[tokio::test(flavor = "multi_thread")]
async fn an_issuance_is_one_trace_from_attestation_to_publication() -> Result<()> {
    let collector = Collector::start().await?;
    let settings = Settings {
        otlp_endpoint: Some(collector.endpoint().to_owned()),
        ..Settings::default()
    };
    let mesh = Mesh::start(&settings).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let steps = ["authorize", "log", "publish", "sign"];
    let is_whole = |trace: &[String], first: &str| {
        trace.iter().any(|name| name == first)
            && steps
                .iter()
                .all(|step| trace.iter().any(|name| name == step))
    };
    // Of the node by its token, and of the workload by its node's certificate.
    wait::until("both traces", wait::BOUND, async || {
        let traces = collector.traces();
        let has = |first| traces.iter().any(|trace| is_whole(trace, first));
        (has("attest") && has("enrol")).then_some(())
    })
    .await
}
