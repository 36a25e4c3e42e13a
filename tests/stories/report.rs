//! The page of pictures in a real browser, against the figures in JSON.

use anyhow::{Context, Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::envoy::{Bootstrap, Dialect};
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Envoy, Mesh, Registration, browser, wait};
use serde_json::Value;

const WEB: &str = "spiffe://example.org/web";
const CLIENT: &str = "spiffe://example.org/client";

#[tokio::test(flavor = "multi_thread")]
async fn report_shows_in_a_browser_what_json_tells() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    let operator = mesh.operator()?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    mesh.register(&Registration::new(CLIENT, "b")).await?;
    // Of a node that is not there.
    mesh.register(&Registration::new("spiffe://example.org/lost", "c"))
        .await?;
    let a = mesh.sidecar("a", &Listeners::default()).await?;
    let b = mesh.sidecar("b", &Listeners::default()).await?;
    a.ready().await?;
    b.ready().await?;
    let bootstrap = Bootstrap {
        sds_socket: &a.socket(),
        identity: WEB,
        bundle: "ROOTCA",
        peer: CLIENT,
        dialect: Dialect::Delta,
    };
    let envoy = Envoy::inbound(a.folder(), &bootstrap, "127.0.0.1:9".parse()?)?;
    envoy.ready().await?;
    operator.json(&["ca", "rotate-root", "--wait"]).await?;
    let settled = wait::until("both identities held", wait::BOUND, async || {
        let status = operator.json(&["status"]).await.ok()?;
        (status["totals"]["by_state"]["held"].as_u64() >= Some(4)).then_some(())
    });
    settled.await?;

    let page = mesh.folder().join("report.html");
    let html = page.to_string_lossy().into_owned();
    let facts = operator.json(&["report", "--html", &html]).await?;
    let picture = mesh.folder().join("report.png");
    let light = browser::show(&page, false, &picture).await?;
    let bright = std::fs::read(&picture)?;
    browser::show(&page, true, &picture).await?;
    let dark = std::fs::read(&picture)?;
    for shown in [&bright, &dark] {
        ensure!(
            shown.starts_with(b"\x89PNG") && shown.len() > 20_000,
            "{} bytes",
            shown.len()
        );
    }
    ensure!(
        bright != dark,
        "the page follows the reader's light or dark"
    );
    compare(&light, &facts)
}

/// Every row, node and lane of the JSON stands in the document, with its figures.
fn compare(document: &str, facts: &Value) -> Result<()> {
    let (status, rotation) = (&facts["status"], &facts["rotation"]);
    let has = |what: String| -> Result<()> {
        ensure!(document.contains(&what), "the page has no {what}");
        Ok(())
    };
    let text = |it: &Value| it.as_str().map(str::to_owned);
    let totals = &status["totals"];
    for (key, figure) in [
        ("endpoints", totals["endpoints"].to_string()),
        (
            "attention",
            totals["endpoints_needing_attention"].to_string(),
        ),
        ("consumers", totals["consumers"].to_string()),
        ("behind", totals["consumers_behind"].to_string()),
        ("issued", status["svids_issued"].to_string()),
        (
            "nodes",
            format!("{} of {}", totals["nodes_connected"], totals["nodes"]),
        ),
    ] {
        let at = document
            .find(&format!("data-figure=\"{key}\""))
            .context("a figure")?;
        let figure = format!("<dd>{figure}</dd>");
        ensure!(
            document[at..]
                .split("</div>")
                .next()
                .is_some_and(|it| it.contains(&figure)),
            "{key}: {figure}"
        );
    }
    let nodes = status["nodes"].as_array().context("nodes")?;
    ensure!(nodes.len() == 3, "{status}");
    for node in nodes {
        let id = text(&node["id"]).context("a node")?;
        let endpoints = node["endpoints"].as_array().context("endpoints")?;
        let streamed = endpoints.iter().filter(|it| it["entitlement"] != "node");
        let count = |is: fn(&Value) -> bool| streamed.clone().filter(|it| is(it)).count();
        has(format!(
            "data-node=\"{id}\" data-wanted=\"{}\" data-acknowledged=\"{}\" data-served=\"{}\" data-consumers=\"{}\"",
            count(|it| it["wanted"].is_string()),
            count(|it| it["wanted"].is_string() && it["acknowledged"] == it["wanted"]),
            count(|it| it["wanted"].is_string() && it["served"] == it["wanted"]),
            node["consumers"].as_array().map_or(0, Vec::len),
        ))?;
        for it in endpoints {
            let mut row = format!(
                "data-id=\"{}\" data-node=\"{id}\" data-state=\"{}\"",
                text(&it["id"]).context("an identity")?,
                text(&it["state"]).context("a state")?,
            );
            if let (Some(end), Some(serial)) = (text(&it["not_after"]), text(&it["wanted"])) {
                row += &format!(" data-not-after=\"{end}\" data-serial=\"{serial}\"");
            }
            has(row)?;
        }
    }
    let lanes = rotation["lanes"].as_array().context("lanes")?;
    ensure!(lanes.len() >= 3, "two sidecars and an Envoy: {rotation}");
    for lane in lanes {
        let acknowledged = text(&lane["acknowledged_at"]).context("everybody acknowledged")?;
        has(format!(
            "data-consumer=\"{}\" data-acknowledged-at=\"{acknowledged}\" data-serials=\"{}\" data-failed=\"0\"",
            text(&lane["consumer"]).context("a consumer")?,
            lane["sightings"].as_array().map_or(0, Vec::len),
        ))?;
    }
    Ok(())
}
