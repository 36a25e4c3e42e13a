//! The page around the pictures. Its policy forbids it every script and every address.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Facts, holders, lives, rotation};
use crate::distance::{between, to_the_second};

/// No script, no image, no font, no request: what a node reported cannot become one.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("page.css");

pub(super) fn of(facts: &Facts) -> String {
    let trust_domain = &facts.status.trust_domain;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "Countersign: " (trust_domain) ", " (to_the_second(facts.at)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (trust_domain) }
                    p { "Countersign " (facts.status.version) ", as it was at " (to_the_second(facts.at)) }
                }
                (troubles(facts))
                (figures(facts))
                main {
                    (lives::picture(&facts.status, facts.at))
                    (holders::picture(&facts.status, facts.at))
                    (rotation::picture(&facts.rotation, facts.at))
                }
                footer {
                    p { "Written by " code { "countersign report" } ". The same figures: "
                        code { "countersign report --json" } "." }
                }
            }
        }
    };
    page.into_string()
}

/// What stops something, before anything else.
fn troubles(facts: &Facts) -> Markup {
    let status = &facts.status;
    html! {
        @if !(status.obstacles.is_empty() && status.alarms.is_empty()) {
            ul.troubles {
                @for it in &status.obstacles { li { strong { "Cannot sign: " } (it) } }
                @for it in &status.alarms { li { strong { "Alarm: " } (it) } }
            }
        }
    }
}

fn figures(facts: &Facts) -> Markup {
    let status = &facts.status;
    let totals = &status.totals;
    let up = status.started_at.map(|at| between(at, facts.at));
    let figures = [
        ("identities", totals.endpoints.to_string(), "endpoints"),
        (
            "need attention",
            totals.endpoints_needing_attention.to_string(),
            "attention",
        ),
        (
            "nodes connected",
            format!("{} of {}", totals.nodes_connected, totals.nodes),
            "nodes",
        ),
        ("consumers", totals.consumers.to_string(), "consumers"),
        (
            "without the newest bundle",
            totals.consumers_behind.to_string(),
            "behind",
        ),
        ("SVIDs issued", status.svids_issued.to_string(), "issued"),
        ("up", up.unwrap_or_default(), "up"),
    ];
    html! {
        dl.figures {
            @for (name, figure, key) in figures {
                div data-figure=(key) { dt { (name) } dd { (figure) } }
            }
        }
    }
}
