//! The first lines: whether all is well, and otherwise what is wrong and the command that mends it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::phrase;
use super::shape::{Endpoint, Node, Rotation, Shown};
use crate::ca::laggards::{Laggards, at};
use crate::called::Called;
use crate::output::{Printable, count, many, shell_word};
use crate::replica::row::Row;
use crate::short::Short;
use crate::table::Tone;
use crate::table::look::Look;
use crate::table::text::folded;

/// How it is told.
#[derive(Clone, Copy)]
struct Telling<'a> {
    now: Timestamp,
    look: Look,
    called: &'a Called,
}

/// One thing that is wrong.
struct Problem {
    what: String,
    /// Whom or what it is about: indented, one a line.
    of: Vec<String>,
    /// What mends it: a command a line.
    commands: Vec<String>,
}

impl Problem {
    fn new(what: String) -> Self {
        Self {
            what,
            of: Vec::new(),
            commands: Vec::new(),
        }
    }

    fn with(self, commands: Vec<String>) -> Self {
        Self { commands, ..self }
    }

    fn of(self, of: Vec<String>) -> Self {
        Self { of, ..self }
    }
}

/// The verdict in one line, then every problem.
pub(super) fn text(shown: &Shown, now: Timestamp, look: Look, called: &Called) -> Printable {
    let problems = Telling { now, look, called }.problems(shown);
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
        let commands = problem.commands.into_iter();
        let commands = commands.map(|command| format!("  $ {command}"));
        parts.extend(commands.map(Printable::from));
    }
    Printable::join(parts, "\n")
}

/// Whether nothing needs attention.
pub(super) fn is_well(shown: &Shown) -> bool {
    let telling = Telling {
        now: shown.at.unwrap_or_default(),
        look: Look::default(),
        called: &Called::default(),
    };
    telling.problems(shown).is_empty()
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
    let replicas = shown
        .replicas
        .iter()
        .filter(|it| it.needs_attention)
        .count();
    if replicas > 0 {
        let all = count(shown.replicas.len() as u64, "control plane");
        wrong.push(format!("{replicas} of {all}"));
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

impl Telling<'_> {
    fn problems(self, shown: &Shown) -> Vec<Problem> {
        let said = |what: &str, it: &String| {
            let it = self.called.completed(it);
            Problem::new(format!("{what}: {it}"))
        };
        let obstacles = shown.obstacles.iter().map(|it| said("cannot sign", it));
        let alarms = shown.alarms.iter().map(|it| said("alarm", it));
        let mut problems: Vec<_> = obstacles.chain(alarms).collect();
        problems.extend(self.replicas(&shown.replicas));
        problems.extend(shown.rotation.iter().map(|it| self.rotation(it)));
        problems.extend(self.nodes(&shown.nodes));
        problems.extend(self.endpoints(&shown.nodes));
        problems
    }

    /// Control planes that somebody has to look at.
    fn replicas(self, replicas: &[Row]) -> Vec<Problem> {
        let needing = replicas.iter().filter(|it| it.needs_attention);
        let problem = |it: &Row| {
            let what = format!("control plane {}: {}", it.name, it.standing(self.now));
            Problem::new(what).with(it.commands(self.called))
        };
        needing.map(problem).collect()
    }

    /// A root that waits: for whom, until when, and how it goes on without them.
    fn rotation(self, it: &Rotation) -> Problem {
        let root = Short::of([it.key_id.as_str()], self.look).short(&it.key_id);
        let laggards = Laggards::new(it.waiting_for.clone(), it.waiting_for_more);
        if laggards.count() == 0 {
            let from = it.not_before.filter(|from| *from > self.now);
            return Problem::new(match from {
                Some(from) => format!(
                    "root {root} is prepared, and not valid before {}",
                    at(from, self.now)
                ),
                None => {
                    format!("root {root} is prepared: everybody has it, and it is about to sign")
                }
            });
        }
        let (consumers, until) = (
            count(laggards.count(), "consumer"),
            laggards.until(self.now),
        );
        Problem::new(format!("root {root} waits for {consumers}, {until}"))
            .of(laggards.lines(self.now))
            .with(laggards.commands(self.called))
    }

    /// Nodes, by how they stand: the first of each, and what to do.
    fn nodes(self, nodes: &[Node]) -> Vec<Problem> {
        let mut by_state: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
        let needing = nodes.iter().filter(|it| it.needs_attention);
        needing.for_each(|it| by_state.entry(&it.state).or_default().push(it));
        let problem = |(state, of): (&str, Vec<&Node>)| {
            let first = of[0];
            let said = phrase::node(first, self.now);
            let reason = first.reason.as_ref();
            let reason = reason.map_or_else(String::new, |why| format!(" ({why})"));
            let more = and_more(of.len());
            let problem = Problem::new(format!("node {}: {said}{reason}{more}", first.id));
            let node = shell_word(&first.id);
            let command = match state {
                "away" => "systemctl status countersign-sidecar    # on that machine".to_owned(),
                "banned" => self.ours(&format!("node unban --node {node} --reason WHY")),
                _ => self.ours(&format!("token create --node {node} --out token")),
            };
            problem.with(vec![command])
        };
        by_state.into_iter().map(problem).collect()
    }

    /// Identities that need attention though their node does not, by how they stand.
    fn endpoints(self, nodes: &[Node]) -> Vec<Problem> {
        let mut by_state: BTreeMap<&str, Vec<(&Node, &Endpoint)>> = BTreeMap::new();
        for node in nodes {
            let needing = node.endpoints.iter().filter(|it| it.needs_attention);
            for it in needing.filter(|it| !node.needs_attention || it.state != node.state) {
                by_state.entry(&it.state).or_default().push((node, it));
            }
        }
        let problem = |(state, of): (&str, Vec<(&Node, &Endpoint)>)| {
            let (node, it) = of[0];
            let (said, more) = (phrase::endpoint(it, self.now), and_more(of.len()));
            let owner = it.owner.as_ref();
            let owner = owner.map_or_else(String::new, |owner| format!(" (owner {owner})"));
            let what = format!("{} on {}: {said}{owner}{more}", it.id, node.id);
            let because = it.refused.as_ref().map(|it| it.message.clone());
            let problem = Problem::new(what).of(because.into_iter().collect());
            let command = match state {
                "refused" => self.ours(&format!("list --id {} --wide", shell_word(&it.id))),
                _ => "countersign-sidecar status    # on that machine: says why not".to_owned(),
            };
            problem.with(vec![command])
        };
        by_state.into_iter().map(problem).collect()
    }

    fn ours(self, verb: &str) -> String {
        self.called.command(verb)
    }
}

fn and_more(all: usize) -> String {
    match all {
        1 => String::new(),
        all => format!(", and {} more like it", all - 1),
    }
}
