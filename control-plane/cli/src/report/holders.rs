//! The second picture: who holds what, from the control plane over nodes and sidecars to consumers.
//!
//! An edge says what is wanted, what is acknowledged and what was seen served over it.

use countersign_model::EntitlementId;
use jiff::Timestamp;
use maud::{Markup, html};

use super::lives::path;
use crate::distance::relative;
use crate::status::phrase;
use crate::status::{Consumer, Endpoint, Node, Shown};

/// Nodes that are drawn, those that need attention first.
pub(super) const MOST_NODES: usize = 60;
/// Consumers of one node that are drawn.
pub(super) const MOST_CONSUMERS: usize = 8;

/// Lines of a picture of this width.
const WIDTH: usize = 1_080;
/// Where each column begins, and how wide a box of it is.
const PLANE: (usize, usize) = (4, 130);
const NODES: (usize, usize) = (232, 180);
const SIDECARS: (usize, usize) = (590, 130);
const CONSUMERS: (usize, usize) = (846, 230);
/// Height of a box, and from one to the next.
const BOX: usize = 34;
const PITCH: usize = 42;
/// Height of the names of the columns.
const HEADS: usize = 24;
/// Between a box and its text.
const PADDING: usize = 8;
/// Width of a letter.
const LETTER: usize = 8;

/// How an edge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// What is wanted is acknowledged.
    Current,
    /// It is not, or not yet.
    Behind,
    /// Nobody is at the other end.
    Away,
}

impl Edge {
    fn class(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Behind => "behind",
            Self::Away => "away",
        }
    }
}

pub(super) fn picture(status: &Shown, now: Timestamp) -> Markup {
    let mut nodes: Vec<&Node> = status.nodes.iter().collect();
    nodes.sort_by_key(|node| (!attention(node), &node.id));
    let more = nodes.len().saturating_sub(MOST_NODES);
    nodes.truncate(MOST_NODES);
    let mut height = HEADS;
    let places = nodes.iter().map(|node| {
        let (top, rows) = (height, rows(node));
        height += rows * PITCH;
        (top, rows)
    });
    let places: Vec<_> = places.collect();
    let middle = (HEADS + height) / 2;
    html! {
        section id="holders" {
            h2 { "Who holds what" }
            p.how {
                "From the control plane to nodes, their sidecars and the consumers behind them. Whole lines: "
                "what is wanted is acknowledged. Dashed: not yet. Dotted: nobody is at the other end. "
                "An identity that was seen in no handshake is unobserved, not missing."
            }
            @if nodes.is_empty() {
                p.none { "No node is known." }
            } @else {
                div.scroll {
                    svg.graph viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height)
                        role="img" aria-label="Who holds what" {
                        (heads())
                        (boxed(PLANE, middle - BOX / 2, "good", "control plane",
                            &format!("bundle {}", short(status.bundle_version.as_deref())), None))
                        @for (node, place) in nodes.iter().zip(places) {
                            (of_node(node, status, place, middle, now))
                        }
                    }
                }
                @if more > 0 { p.more { "and " (more) " nodes more" } }
            }
        }
    }
}

fn heads() -> Markup {
    let columns = [
        (NODES, "nodes"),
        (SIDECARS, "sidecars"),
        (CONSUMERS, "consumers"),
    ];
    html! {
        @for ((left, _), name) in columns { text.head x=(left) y="14" { (name) } }
    }
}

fn of_node(
    node: &Node,
    status: &Shown,
    (top, rows): (usize, usize),
    plane: usize,
    now: Timestamp,
) -> Markup {
    let middle = top + rows * PITCH / 2;
    let tally = Tally::of(node);
    let mark = if attention(node) { "bad" } else { "good" };
    let (stream, said) = (stream(node, status), phrase::node(node, now));
    let bundle = match stream {
        Edge::Current => "has the bundle",
        Edge::Behind => "bundle not acknowledged",
        Edge::Away => "no stream",
    };
    let shown = node.consumers.iter().take(MOST_CONSUMERS).enumerate();
    let unnamed = node.consumers.len().saturating_sub(MOST_CONSUMERS) as u64 + node.consumers_more;
    html! {
        g data-node=(node.id) data-wanted=(tally.wanted) data-acknowledged=(tally.acknowledged)
            data-served=(tally.served) data-consumers=(node.consumers.len()) {
            (edge(right(PLANE), plane, NODES.0, middle, stream, bundle))
            (boxed(NODES, middle - BOX / 2, mark, path(&node.id), &said, Some(&node.id)))
            (edge(right(NODES), middle, SIDECARS.0, middle, tally.edge(node), &tally.words()))
            (boxed(SIDECARS, middle - BOX / 2, mark, "sidecar", &tally.identities(), None))
            @for (n, consumer) in shown {
                (of_consumer(consumer, status, middle, top + n * PITCH + PITCH / 2, now))
            }
            @if unnamed > 0 {
                text.small x=(CONSUMERS.0) y=(top + (rows - 1) * PITCH + PITCH / 2 + 4) {
                    "and " (unnamed) " more"
                }
            }
        }
    }
}

fn of_consumer(
    it: &Consumer,
    status: &Shown,
    from: usize,
    middle: usize,
    now: Timestamp,
) -> Markup {
    let is_current = !it.validates || it.bundle_version == status.bundle_version;
    let (edge_is, said) = match (it.connected, it.validates, is_current) {
        (false, ..) => (Edge::Away, "away".to_owned()),
        (true, false, _) => (Edge::Current, "certificates alone".to_owned()),
        (true, true, true) => (Edge::Current, "has the bundle".to_owned()),
        (true, true, false) => (Edge::Behind, "an older bundle".to_owned()),
    };
    let resource = it.resource.as_deref().unwrap_or("–");
    let kind = it.kind.replace('_', " ");
    let name = if it.id == kind {
        kind
    } else {
        format!("{kind} {}", it.id)
    };
    let serials = match it.serials.len() {
        0 => String::new(),
        1 => format!(", serial {}", short(it.serials.first().map(String::as_str))),
        many => format!(", {many} serials"),
    };
    let since = it.since.map(|at| relative(at, now));
    let told = format!(
        "{} {}, since {}",
        it.id,
        resource,
        since.unwrap_or_default()
    );
    let mark = if edge_is == Edge::Behind {
        "bad"
    } else {
        "good"
    };
    html! {
        (edge(right(SIDECARS), from, CONSUMERS.0, middle, edge_is, &said))
        (boxed(CONSUMERS, middle - BOX / 2, mark, &name,
            &format!("{resource}{serials}"), Some(&told)))
    }
}

/// Identities of workloads on a node, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    wanted: usize,
    acknowledged: usize,
    served: usize,
    identities: usize,
}

impl Tally {
    /// The node's own identity is not among them: it is not streamed, so nobody acknowledges it.
    fn of(node: &Node) -> Self {
        let own = EntitlementId::node();
        let streamed = node.endpoints.iter();
        let streamed = streamed.filter(|it| it.entitlement != own.as_str());
        let count = |is: fn(&Endpoint) -> bool| streamed.clone().filter(|it| is(it)).count();
        Self {
            wanted: count(|it| it.wanted.is_some()),
            acknowledged: count(|it| it.wanted.is_some() && it.acknowledged == it.wanted),
            served: count(|it| it.wanted.is_some() && it.served == it.wanted),
            identities: count(|_| true),
        }
    }

    fn edge(&self, node: &Node) -> Edge {
        match (node.connected, self.acknowledged == self.wanted) {
            (false, _) => Edge::Away,
            (true, true) => Edge::Current,
            (true, false) => Edge::Behind,
        }
    }

    fn words(&self) -> String {
        let Self {
            wanted,
            acknowledged,
            served,
            ..
        } = self;
        format!("{wanted} wanted, {acknowledged} ack., {served} served")
    }

    fn identities(&self) -> String {
        match self.identities {
            1 => "1 identity".to_owned(),
            many => format!("{many} identities"),
        }
    }
}

fn attention(node: &Node) -> bool {
    node.needs_attention || node.endpoints.iter().any(|it| it.needs_attention)
}

/// The stream of a node, and the bundle on it.
fn stream(node: &Node, status: &Shown) -> Edge {
    match (
        node.connected,
        node.bundle_version_acknowledged == status.bundle_version,
    ) {
        (false, _) => Edge::Away,
        (true, true) => Edge::Current,
        (true, false) => Edge::Behind,
    }
}

/// How many lines a node takes.
fn rows(node: &Node) -> usize {
    let unnamed = node.consumers.len() > MOST_CONSUMERS || node.consumers_more > 0;
    let named = node.consumers.len().min(MOST_CONSUMERS);
    (named + usize::from(unnamed)).max(1)
}

fn right((left, width): (usize, usize)) -> usize {
    left + width
}

fn edge(x1: usize, y1: usize, x2: usize, y2: usize, edge: Edge, said: &str) -> Markup {
    let bend = (x1 + x2) / 2;
    html! {
        path class={ "edge " (edge.class()) } d=(format!("M{x1} {y1} C{bend} {y1} {bend} {y2} {x2} {y2}")) {}
        text.small.on-edge x=(x2 - 6) y=(y2 - 5) text-anchor="end" { (said) }
    }
}

fn boxed(
    (left, width): (usize, usize),
    top: usize,
    mark: &str,
    name: &str,
    said: &str,
    whole: Option<&str>,
) -> Markup {
    let fits = (width - 2 * PADDING) / LETTER + 1;
    html! {
        g class={ "box " (mark) } {
            title { (whole.unwrap_or(name)) }
            rect x=(left) y=(top) width=(width) height=(BOX) rx="4" {}
            text x=(left + PADDING) y=(top + 14) { (cut(name, fits)) }
            text.small x=(left + PADDING) y=(top + 28) { (cut(said, fits)) }
        }
    }
}

/// A text of at most so many letters.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            format!("{kept}…")
        }
    }
}

/// The beginning of a serial or a version.
fn short(text: Option<&str>) -> String {
    text.map_or_else(|| "–".to_owned(), |text| cut(text, 9))
}
