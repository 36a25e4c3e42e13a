//! The first lines: whether all is well, and otherwise what is wrong and the command that mends it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::phrase;
use super::shape::{Endpoint, Node, Rotation, Shown};
use crate::distance::{relative, to_the_second};
use crate::output::{Printable, shell_word};
use crate::short::Short;
use crate::table::Tone;
use crate::table::look::Look;
use crate::table::text::folded;

/// Most consumers that are named of whom a rotation waits for; `ca status` names more.
const MAX_NAMED: usize = 5;

/// One thing that is wrong.
struct Problem {
    what: String,
    /// Whom or what it is about: indented, one a line.
    of: Vec<String>,
    /// What mends it.
    command: Option<String>,
}

impl Problem {
    fn new(what: String) -> Self {
        Self {
            what,
            of: Vec::new(),
            command: None,
        }
    }

    fn with(self, command: impl Into<String>) -> Self {
        Self {
            command: Some(command.into()),
            ..self
        }
    }

    fn of(self, of: Vec<String>) -> Self {
        Self { of, ..self }
    }
}

/// The verdict in one line, then every problem.
pub(super) fn text(shown: &Shown, now: Timestamp, look: Look) -> Printable {
    let problems = problems(shown, now, look);
    let first = first_line(shown, problems.is_empty());
    let tone = if problems.is_empty() {
        Tone::Good
    } else {
        Tone::Bad
    };
    let mut parts = folded(&first, "", tone, look);
    for problem in problems {
        parts.extend(folded(&problem.what, "- ", Tone::Plain, look));
        for line in problem.of {
            parts.extend(folded(&line, "    ", Tone::Plain, look));
        }
        // A command is one line, whatever the width: it is copied.
        let command = problem.command.map(|command| format!("  $ {command}"));
        parts.extend(command.map(Printable::from));
    }
    Printable::join(parts, "\n")
}

fn first_line(shown: &Shown, is_well: bool) -> String {
    let totals = &shown.totals;
    let held = totals.by_state.get("held").copied().unwrap_or(0);
    if is_well {
        return format!(
            "all is well: {} of {} connected, {} of {} held",
            totals.nodes_connected,
            count(totals.nodes, "node"),
            held,
            many(totals.endpoints, "identity", "identities"),
        );
    }
    let mut wrong = Vec::new();
    if !shown.obstacles.is_empty() {
        wrong.push("nothing can be signed".to_owned());
    }
    if !shown.alarms.is_empty() {
        wrong.push(count(shown.alarms.len() as u64, "alarm"));
    }
    if totals.nodes_needing_attention > 0 {
        let nodes = count(totals.nodes, "node");
        wrong.push(format!("{} of {nodes}", totals.nodes_needing_attention));
    }
    if totals.endpoints_needing_attention > 0 {
        let all = many(totals.endpoints, "identity", "identities");
        wrong.push(format!("{} of {all}", totals.endpoints_needing_attention));
    }
    if shown.rotation.is_some() {
        wrong.push("a root that waits".to_owned());
    }
    format!("needs attention: {}", wrong.join(", "))
}

fn problems(shown: &Shown, now: Timestamp, look: Look) -> Vec<Problem> {
    let obstacles = shown.obstacles.iter();
    let obstacles = obstacles.map(|it| Problem::new(format!("cannot sign: {it}")));
    let alarms = shown.alarms.iter();
    let alarms = alarms.map(|it| Problem::new(format!("alarm: {it}")));
    let mut problems: Vec<_> = obstacles.chain(alarms).collect();
    problems.extend(shown.rotation.iter().map(|it| rotation(it, now, look)));
    problems.extend(nodes(&shown.nodes, now));
    problems.extend(endpoints(&shown.nodes, now));
    problems
}

/// A root that waits: for whom, until when, and how it goes on without them.
fn rotation(it: &Rotation, now: Timestamp, look: Look) -> Problem {
    let root = Short::of([it.key_id.as_str()], look).short(&it.key_id);
    let waiting = it.waiting_for.len() as u64 + it.waiting_for_more;
    if waiting == 0 {
        let from = it.not_before.filter(|from| *from > now);
        return Problem::new(match from {
            Some(from) => format!(
                "root {root} is prepared, and not valid before {}",
                at(from, now)
            ),
            None => format!("root {root} is prepared: everybody has it, and it is about to sign"),
        });
    }
    let is_away = it.waiting_for_more == 0 && it.waiting_for.iter().all(|it| !it.connected);
    let last = it.waiting_for.iter().filter_map(|it| it.until).max();
    let until = match last.filter(|_| is_away) {
        Some(last) => format!("at the latest until {}", at(last, now)),
        None => "until they have acknowledged it".to_owned(),
    };
    let mut of: Vec<_> = it
        .waiting_for
        .iter()
        .take(MAX_NAMED)
        .map(|it| match it.until {
            Some(until) => format!("{}, not connected, until {}", it.consumer, at(until, now)),
            None => format!("{}, connected", it.consumer),
        })
        .collect();
    let more = waiting - of.len() as u64;
    if more > 0 {
        of.push(format!("{more} more: countersign ca status"));
    }
    let consumers = count(waiting, "consumer");
    let what = format!("root {root} waits for {consumers}, {until}");
    let problem = Problem::new(what).of(of);
    match it.waiting_for.first() {
        Some(first) => problem.with(format!(
            "countersign ca waive --consumer {} --reason WHY --for 24h",
            shell_word(&first.consumer)
        )),
        None => problem,
    }
}

fn at(time: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", to_the_second(time), relative(time, now))
}

/// Nodes, by how they stand: the first of each, and what to do.
fn nodes(nodes: &[Node], now: Timestamp) -> Vec<Problem> {
    let mut by_state: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    let needing = nodes.iter().filter(|it| it.needs_attention);
    needing.for_each(|it| by_state.entry(&it.state).or_default().push(it));
    let problem = |(state, of): (&str, Vec<&Node>)| {
        let first = of[0];
        let said = phrase::node(first, now);
        let reason = first.reason.as_ref();
        let reason = reason.map_or_else(String::new, |why| format!(" ({why})"));
        let more = and_more(of.len());
        let problem = Problem::new(format!("node {}: {said}{reason}{more}", first.id));
        let node = &first.id;
        problem.with(match state {
            "away" => "systemctl status countersign-sidecar    # on that machine".to_owned(),
            "banned" => format!("countersign node unban --node {node} --reason WHY"),
            _ => format!("countersign token create --node {node} --out token"),
        })
    };
    by_state.into_iter().map(problem).collect()
}

/// Identities that need attention though their node does not, by how they stand.
fn endpoints(nodes: &[Node], now: Timestamp) -> Vec<Problem> {
    let mut by_state: BTreeMap<&str, Vec<(&Node, &Endpoint)>> = BTreeMap::new();
    for node in nodes {
        let needing = node.endpoints.iter().filter(|it| it.needs_attention);
        for it in needing.filter(|it| !node.needs_attention || it.state != node.state) {
            by_state.entry(&it.state).or_default().push((node, it));
        }
    }
    let problem = |(state, of): (&str, Vec<(&Node, &Endpoint)>)| {
        let (node, it) = of[0];
        let (said, more) = (phrase::endpoint(it, now), and_more(of.len()));
        let owner = it.owner.as_ref();
        let owner = owner.map_or_else(String::new, |owner| format!(" (owner {owner})"));
        let what = format!("{} on {}: {said}{owner}{more}", it.id, node.id);
        let because = it.refused.as_ref().map(|it| it.message.clone());
        let problem = Problem::new(what).of(because.into_iter().collect());
        problem.with(match state {
            "refused" => format!("countersign list --id {} --wide", it.id),
            _ => "countersign-sidecar status    # on that machine: says why not".to_owned(),
        })
    };
    by_state.into_iter().map(problem).collect()
}

fn and_more(all: usize) -> String {
    match all {
        1 => String::new(),
        all => format!(", and {} more like it", all - 1),
    }
}

pub(super) fn count(n: u64, what: &str) -> String {
    many(n, what, &format!("{what}s"))
}

pub(super) fn many(n: u64, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}
