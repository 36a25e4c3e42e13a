//! Whom a rotation waits for, in words, and the command that goes on without them.

use serde::Serialize;

use crate::output::shell_word;

/// Whom a rotation waits for.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Laggards {
    waiting_for: Vec<String>,
    /// How many there are beside.
    waiting_for_more: u64,
}

impl Laggards {
    pub(super) fn new(waiting_for: Vec<String>, waiting_for_more: u64) -> Self {
        Self {
            waiting_for,
            waiting_for_more,
        }
    }

    /// In one line; `None` where nobody is waited for.
    pub(super) fn line(&self) -> Option<String> {
        self.joined(", ")
    }

    /// A line for each.
    pub(super) fn lines(&self) -> Option<String> {
        self.joined("\n  ")
    }

    /// The command with which a pending root goes on without the first.
    pub(super) fn command(&self) -> Option<String> {
        let consumer = shell_word(self.waiting_for.first()?);
        Some(format!(
            "countersign ca waive --consumer {consumer} --reason WHY --for 24h"
        ))
    }

    fn joined(&self, between: &str) -> Option<String> {
        let Self {
            waiting_for,
            waiting_for_more: more,
        } = self;
        let mut names = waiting_for.clone();
        if *more > 0 {
            names.push(format!("{more} more"));
        }
        (!names.is_empty()).then(|| format!("waiting for {}", names.join(between)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_survives_what_a_node_reported() {
        let name = "spiffe://example.org/node/a envoy x'; reboot; ' ROOTCA".to_owned();
        let laggards = Laggards::new(vec![name], 3);
        let quoted =
            r"--consumer 'spiffe://example.org/node/a envoy x'\''; reboot; '\'' ROOTCA' --";
        let command = laggards.command().unwrap();
        assert!(command.contains(quoted), "{command}");
        assert!(laggards.line().unwrap().ends_with(", 3 more"));
        assert_eq!(Laggards::default().line(), None);
    }
}
