//! A report for people.

use comfy_table::{Table, presets::NOTHING};
use countersign_model::SpiffeId;
use jiff::Timestamp;

use super::Report;

/// The report as text, times relative to when it was made.
pub fn render(report: &Report) -> String {
    let link = &report.control_plane;
    let state = if link.connected {
        "connected"
    } else {
        "not connected"
    };
    let mut lines = vec![format!(
        "control plane  {}, {state} since {} ({})",
        link.address,
        link.since,
        distance(link.since, report.at),
    )];
    lines.extend(
        link.problem
            .iter()
            .map(|why| format!("               {why}")),
    );
    // The problem of a connection that failed says it all.
    let passed_by = link.unreached.iter().filter(|_| link.connected);
    lines.extend(passed_by.map(|other| {
        let (address, why) = (&other.address, &other.problem);
        format!("               not reached: {address}: {why}")
    }));
    lines.push(match &report.bundle {
        Some(bundle) => format!(
            "bundle         {}, {} root(s), version {}",
            bundle.trust_domain, bundle.roots, bundle.version
        ),
        None => "bundle         none installed".to_owned(),
    });
    let refused = report.bundle.iter().filter_map(|b| b.problem.as_ref());
    lines.extend(refused.map(|why| format!("               a newer one is refused: {why}")));
    lines.push(format!(
        "headroom       {} s without the control plane",
        report.outage_headroom_secs
    ));
    let ready = report.not_ready.iter();
    lines.extend(ready.map(|why| format!("not ready      {why}")));
    let degraded = report.degraded.iter();
    lines.extend(degraded.map(|what| format!("degraded       {what}")));
    lines.extend([String::new(), identities(report)]);
    if !report.listeners.items.is_empty() {
        lines.extend([String::new(), listeners(report)]);
    }
    if !report.places.items.is_empty() {
        lines.extend([String::new(), places(report)]);
    }
    lines.join("\n")
}

fn identities(report: &Report) -> String {
    let mut table = bare(["IDENTITY", "SERIAL", "EXPIRES", "RENEWED", "WHY NOT"]);
    for identity in &report.identities.items {
        let when = |at: Option<Timestamp>| at.map_or("-".into(), |at| distance(at, report.at));
        table.add_row([
            identity.spiffe_id.to_string(),
            identity.serial.map_or("-".into(), |s| s.to_string()),
            when(identity.not_after),
            when(identity.renew_at),
            identity.problem.clone().unwrap_or_default(),
        ]);
    }
    table.to_string()
}

fn listeners(report: &Report) -> String {
    let mut table = bare(["LISTENER", "ADDRESS", "IDENTITY", "WHY NOT"]);
    for listener in &report.listeners.items {
        table.add_row([
            listener.name.clone(),
            listener.address.clone(),
            listener
                .identity
                .as_ref()
                .map_or("-".into(), SpiffeId::to_string),
            listener.problem.clone().unwrap_or_default(),
        ]);
    }
    table.to_string()
}

fn places(report: &Report) -> String {
    let header = [
        "LISTENER",
        "CONNECTIONS",
        "BOUND",
        "STRANGERS",
        "TURNED AWAY",
    ];
    let mut table = bare(header);
    for places in &report.places.items {
        let strangers = match places.strangers_bound {
            0 => "-".to_owned(),
            bound => format!("{} of {bound}", places.strangers),
        };
        table.add_row([
            places.listener.clone(),
            places.connections.to_string(),
            places.bound.to_string(),
            strangers,
            places.turned_away.to_string(),
        ]);
    }
    table.to_string()
}

fn bare<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    table
}

fn distance(at: Timestamp, now: Timestamp) -> String {
    let secs = at.duration_since(now).as_secs();
    if secs < 0 {
        format!("{} s ago", -secs)
    } else {
        format!("in {secs} s")
    }
}
