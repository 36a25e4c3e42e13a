//! Whom a rotation waits for and until when, and the commands that go on without them.

use countersign_proto::admin as wire;
use jiff::Timestamp;
use serde::Serialize;

use crate::called::Called;
use crate::client::time;
use crate::distance::{relative, to_the_second};
use crate::output::{Printable, count, many, shell_word};
use crate::table::{Cell, Keep, Look, Table, Tone};

/// Most that are named in lines; a table of `ca status` names more.
const MOST_NAMED: usize = 5;

/// One that is waited for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Laggard {
    pub(crate) consumer: String,
    pub(crate) connected: bool,
    /// The control plane that told of it, where that is not the one that answers.
    pub(crate) replica: Option<String>,
    /// It is waited for no longer than this; none while its stream is open here.
    pub(crate) until: Option<Timestamp>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// That consumers acknowledge the bundle.
    Acknowledgements,
    /// That identities of connected nodes are renewed.
    Renewals,
}

/// Whom a rotation waits for.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Laggards {
    /// Their names.
    waiting_for: Vec<String>,
    /// How many there are beside.
    waiting_for_more: u64,
    /// The same as `waiting_for`, with what is known of each.
    laggards: Vec<Laggard>,
}

impl Laggards {
    pub(crate) fn new(laggards: Vec<Laggard>, more: u64) -> Self {
        Self {
            waiting_for: laggards.iter().map(|it| it.consumer.clone()).collect(),
            waiting_for_more: more,
            laggards,
        }
    }

    pub(crate) fn of(wire: Vec<wire::Laggard>, more: u64) -> Self {
        Self::new(wire.into_iter().map(Laggard::from).collect(), more)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.laggards.len() as u64 + self.waiting_for_more
    }

    /// How long consumers are waited for: the longest, where none of them is connected.
    pub(crate) fn until(&self, now: Timestamp) -> String {
        let is_away = self.waiting_for_more == 0 && self.laggards.iter().all(|it| !it.connected);
        let last = self.laggards.iter().filter_map(|it| it.until).max();
        match last.filter(|_| is_away) {
            Some(last) => format!("at the latest until {}", at(last, now)),
            None => "until they have acknowledged it".to_owned(),
        }
    }

    /// The first of them, a line each.
    pub(crate) fn lines(&self, now: Timestamp) -> Vec<String> {
        let first = self.laggards.iter().take(MOST_NAMED);
        let mut lines: Vec<_> = first.map(|it| it.line(now)).collect();
        let more = self.count() - lines.len() as u64;
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    /// How many and until when, and the first of them in lines below; nothing where nobody is waited for.
    pub(super) fn text(&self, awaited: Awaited, now: Timestamp) -> Option<String> {
        let waiting = Some(self.count()).filter(|it| *it > 0)?;
        let mut text = match awaited {
            Awaited::Acknowledgements => {
                let (consumers, until) = (count(waiting, "consumer"), self.until(now));
                format!("waits for {consumers}, {until}")
            }
            Awaited::Renewals => {
                let identities = many(waiting, "identity", "identities");
                format!("waits for {identities}, until they are renewed")
            }
        };
        for line in self.lines(now) {
            text.push_str(&format!("\n  {line}"));
        }
        Some(text)
    }

    /// All that are named, as a table.
    pub(super) fn table(&self, now: Timestamp, look: Look) -> Printable {
        let rows = self.laggards.iter().map(|it| {
            let tone = match it.connected {
                true => Tone::Good,
                false => Tone::Warn,
            };
            let until = it.until.map(|until| match look.wide {
                true => to_the_second(until),
                false => relative(until, now),
            });
            let until = match it.connected && it.replica.is_none() {
                true => "it acknowledges".to_owned(),
                false => until.unwrap_or_else(|| "-".to_owned()),
            };
            [
                it.consumer.as_str().into(),
                Cell::toned(it.stream(), tone),
                until.into(),
            ]
        });
        let table = Table::new([
            ("WAITS FOR", Keep::Always),
            ("STREAM", Keep::Always),
            ("AT MOST UNTIL", Keep::Always),
        ]);
        let more = match self.waiting_for_more {
            0 => Printable::default(),
            more => format!("and {more} more").into(),
        };
        Printable::join([table.with(rows).render(look, ""), more], "\n")
    }

    /// The commands with which a pending root goes on without each of the first who are not connected; where
    /// all are, without those: who is connected will soon have the bundle, unless something is wrong.
    pub(crate) fn commands(&self, called: &Called) -> Vec<String> {
        let is_any_away = self.laggards.iter().any(|it| !it.connected);
        let offered = self.laggards.iter();
        let offered = offered.filter(|it| !(it.connected && is_any_away));
        let command = |it: &Laggard| {
            let consumer = shell_word(&it.consumer);
            called.command(&format!(
                "ca waive --consumer {consumer} --reason WHY --for 24h"
            ))
        };
        offered.take(MOST_NAMED).map(command).collect()
    }
}

impl Laggard {
    fn line(&self, now: Timestamp) -> String {
        let (consumer, stream) = (&self.consumer, self.stream());
        match self.until {
            Some(until) if !self.connected => {
                format!("{consumer}, {stream}, until {}", at(until, now))
            }
            _ => format!("{consumer}, {stream}"),
        }
    }

    /// Whether it has its stream, and where.
    fn stream(&self) -> String {
        match (self.connected, &self.replica) {
            (true, None) => "connected".to_owned(),
            (true, Some(replica)) => format!("connected to {replica}"),
            (false, None) => "not connected".to_owned(),
            (false, Some(replica)) => format!("not connected, last to {replica}"),
        }
    }
}

impl From<wire::Laggard> for Laggard {
    fn from(wire: wire::Laggard) -> Self {
        Self {
            consumer: wire.name,
            connected: wire.connected,
            replica: Some(wire.replica).filter(|name| !name.is_empty()),
            until: time(wire.until),
        }
    }
}

/// A time, and how far away it is.
pub(crate) fn at(time: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", to_the_second(time), relative(time, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laggard(consumer: &str, until: Option<i64>) -> Laggard {
        Laggard {
            consumer: consumer.to_owned(),
            connected: until.is_none(),
            replica: None,
            until: until.and_then(|at| Timestamp::from_second(at).ok()),
        }
    }

    fn text(laggards: Vec<Laggard>, more: u64) -> Option<String> {
        Laggards::new(laggards, more).text(Awaited::Acknowledgements, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn command_survives_what_a_node_reported() {
        let name = "spiffe://example.org/node/a envoy x'; reboot; ' ROOTCA";
        let laggards = Laggards::new(vec![laggard(name, None)], 3);
        let quoted =
            r"--consumer 'spiffe://example.org/node/a envoy x'\''; reboot; '\'' ROOTCA' --";
        let commands = laggards.commands(&Called::default());
        assert!(commands[0].contains(quoted), "{commands:?}");
    }

    #[test]
    fn each_says_whether_it_is_connected_and_until_when_it_counts() {
        let (a, b) = (laggard("a", None), laggard("b", Some(7_200)));
        assert_eq!(
            text(vec![a.clone(), b.clone()], 0).unwrap(),
            "waits for 2 consumers, until they have acknowledged it\n  a, connected\n  \
             b, not connected, until 1970-01-01T02:00:00Z (in 2 h)"
        );
        assert_eq!(
            text(vec![b.clone(), laggard("c", Some(3_600))], 0)
                .unwrap()
                .lines()
                .next(),
            Some("waits for 2 consumers, at the latest until 1970-01-01T02:00:00Z (in 2 h)")
        );
        // Of those who are not told nothing is known.
        let many = text(vec![b.clone()], 300).unwrap();
        assert!(
            many.starts_with("waits for 301 consumers, until they"),
            "{many}"
        );
        assert!(many.ends_with("\n  and 300 more"), "{many}");
        assert_eq!(text(Vec::new(), 0), None);
        let table = Laggards::new(vec![a, b], 7).table(Timestamp::UNIX_EPOCH, Look::default());
        assert_eq!(
            table.to_string(),
            "WAITS FOR  STREAM         AT MOST UNTIL\n\
             a          connected      it acknowledges\n\
             b          not connected  in 2 h\n\
             and 7 more"
        );
    }

    /// Whether a stream elsewhere is still open is not known here, so there is an end to it.
    #[test]
    fn who_waits_at_another_replica_is_told_with_its_name() {
        let at_b = |consumer: &str, connected| Laggard {
            connected,
            replica: Some("b".to_owned()),
            ..laggard(consumer, Some(7_200))
        };
        let all = Laggards::new(vec![at_b("x", true), at_b("y", false)], 0);
        assert_eq!(
            all.lines(Timestamp::UNIX_EPOCH),
            [
                "x, connected to b",
                "y, not connected, last to b, until 1970-01-01T02:00:00Z (in 2 h)"
            ]
        );
        let table = all.table(Timestamp::UNIX_EPOCH, Look::default());
        assert_eq!(
            table.to_string(),
            "WAITS FOR  STREAM                    AT MOST UNTIL\n\
             x          connected to b            in 2 h\n\
             y          not connected, last to b  in 2 h"
        );
    }

    #[test]
    fn there_is_a_command_for_each_who_is_away() {
        let mut all = vec![laggard("connected", None)];
        all.extend((0..9).map(|n| laggard(&format!("away{n}"), Some(60))));
        let commands = Laggards::new(all, 0).commands(&Called::default());
        assert_eq!(commands.len(), MOST_NAMED);
        assert!(commands[0].contains("--consumer away0 "), "{commands:?}");
        let connected = Laggards::new(vec![laggard("a", None), laggard("b", None)], 0);
        let commands = connected.commands(&Called::default());
        assert!(commands[1].contains("--consumer b "), "{commands:?}");
    }
}
