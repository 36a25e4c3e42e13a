//! The first picture: each identity on each node as a bar of the life that is left of its
//! certificate, with the point at which it is renewed.

use jiff::Timestamp;
use maud::{Markup, html};

use super::scale::{round, share};
use crate::distance::{relative, to_the_second};
use crate::status::phrase;
use crate::status::{Endpoint, Node, Shown};

/// Rows that are drawn: more nobody reads. Those that need attention come first.
pub(super) const MOST_ROWS: usize = 500;

/// Where a bar stands, in hundredths of the certificate's life.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bar {
    now: f64,
    renewal: Option<f64>,
}

pub(super) fn picture(status: &Shown, now: Timestamp) -> Markup {
    let nodes = status.nodes.iter();
    let mut rows: Vec<(&Node, &Endpoint)> = nodes
        .flat_map(|node| node.endpoints.iter().map(move |it| (node, it)))
        .collect();
    rows.sort_by_key(|(node, it)| {
        let end = it.not_after.unwrap_or(Timestamp::MAX);
        (!it.needs_attention, end, &it.id, &node.id)
    });
    let more = rows.len().saturating_sub(MOST_ROWS);
    html! {
        section id="lives" {
            h2 { "What is left of each certificate" }
            p.how {
                "A bar is a life, from the issue to the end. The filled part is what is left of it, "
                "the line is the moment at which its node renews it. What needs attention comes first."
            }
            @if rows.is_empty() {
                p.none { "No identity is registered on a node." }
            } @else {
                div.scroll {
                    table {
                        thead { tr {
                            th { "Identity" } th { "Node" } th.life { "Life" } th { "Ends" } th { "State" }
                        } }
                        tbody {
                            @for (node, it) in rows.into_iter().take(MOST_ROWS) { (row(node, it, now)) }
                        }
                    }
                }
                @if more > 0 { p.more { "and " (more) " more" } }
            }
        }
    }
}

fn row(node: &Node, it: &Endpoint, now: Timestamp) -> Markup {
    let said = phrase::endpoint(it, now);
    let (mark, sign) = match (it.needs_attention, &*it.state) {
        (true, _) => ("bad", "▲ "),
        (false, "held") => ("good", "● "),
        // Nothing is wrong, and nothing is held.
        (false, _) => ("idle", "○ "),
    };
    html! {
        tr.(mark) data-id=(it.id) data-node=(node.id) data-state=(it.state)
            data-not-after=[it.not_after] data-serial=[it.wanted.as_ref()] {
            td title=(it.id) { (path(&it.id)) }
            td title=(node.id) { (path(&node.id)) }
            td.life { @if let Some(bar) = bar(it, now) { (drawn(bar, it, now)) } @else { "–" } }
            td.number {
                @if let Some(end) = it.not_after {
                    span title=(to_the_second(end)) { (relative(end, now)) }
                } @else { "–" }
            }
            td { span.sign aria-hidden="true" { (sign) } (said) }
        }
    }
}

/// The life of the certificate that is wanted there, if there is one.
fn bar(it: &Endpoint, now: Timestamp) -> Option<Bar> {
    let (from, to) = (it.issued_at?, it.not_after?);
    let whole = to.duration_since(from).as_secs_f64();
    if whole <= 0.0 {
        return None;
    }
    let place = |at: Timestamp| {
        let spent = at.duration_since(from).as_secs_f64();
        round(share(spent, whole) * 100.0)
    };
    Some(Bar {
        now: place(now),
        renewal: it.renewal_due.map(place),
    })
}

fn drawn(bar: Bar, it: &Endpoint, now: Timestamp) -> Markup {
    let renewal = it.renewal_due.map(|due| relative(due, now));
    let told = format!(
        "{} % of its life is left; renewal {}",
        round(100.0 - bar.now),
        renewal.as_deref().unwrap_or("not known")
    );
    html! {
        svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label=(told) {
            title { (told) }
            rect.whole x="0" y="1" width="100" height="8" {}
            rect.left x=(bar.now) y="1" width=(round(100.0 - bar.now)) height="8" {}
            @if let Some(renewal) = bar.renewal {
                line.renewal x1=(renewal) x2=(renewal) y1="0" y2="10" {}
            }
        }
    }
}

/// A SPIFFE ID without its trust domain: every row is of the same.
pub(super) fn path(id: &str) -> &str {
    let rest = id.strip_prefix("spiffe://").unwrap_or(id);
    rest.find('/').map_or(id, |at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn bars_show_now_and_renewal() {
        let it = Endpoint {
            issued_at: Some(at(100)),
            renewal_due: Some(at(150)),
            not_after: Some(at(200)),
            ..Endpoint::default()
        };
        let place = |second| bar(&it, at(second)).map(|bar| (bar.now, bar.renewal));
        assert_eq!(place(125), Some((25.0, Some(50.0))));
        assert_eq!(place(50), Some((0.0, Some(50.0))), "a clock that is behind");
        assert_eq!(place(300), Some((100.0, Some(50.0))), "expired");
        assert_eq!(bar(&Endpoint::default(), at(0)), None);
    }

    #[test]
    fn trust_domain_is_left_out() {
        assert_eq!(path("spiffe://example.org/web"), "/web");
        assert_eq!(path("spiffe://example.org"), "spiffe://example.org");
        assert_eq!(path("node a"), "node a");
    }
}
