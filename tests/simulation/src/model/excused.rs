//! For whom a root does not wait: whoever was evicted or waived, and everybody where a clock was wrong by
//! which lifetimes are judged.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Model;

/// After so long nothing is in use any more that was made by a wrong clock, except what that dated into the
/// future.
const LIFETIMES: Duration = Duration::from_secs(5 * 60);

/// Who is excused, by the name of a node or of a consumer.
#[derive(Debug, Default)]
pub(super) struct Excused {
    names: BTreeSet<String>,
    /// Nodes that a root may go on without, until they have a certificate again.
    left_behind: BTreeSet<String>,
    /// The nodes whose clocks are wrong.
    wrong_clocks: BTreeSet<String>,
    /// The clock of the control plane is wrong, or was when something that is in use was made.
    is_astray: bool,
    /// When it was right again.
    right_since: Option<Instant>,
}

impl Excused {
    pub(super) fn contains(&self, name: &str) -> bool {
        let is_of = |node: &String| name.strip_prefix(node.as_str()).is_some_and(is_rest);
        self.names.contains(name)
            || self.wrong_clocks.iter().any(is_of)
            || self.names.iter().any(is_of)
    }

    /// Whether what is in use may be dated by a clock that was wrong.
    pub(super) fn is_astray(&self) -> bool {
        let is_over = self.right_since.is_some_and(|at| at.elapsed() > LIFETIMES);
        self.is_astray && !is_over
    }

    /// Whether lifetimes are misjudged at this node.
    pub(super) fn misjudges(&self, node: &str) -> bool {
        self.wrong_clocks.contains(node) || self.is_astray()
    }

    /// Whether the root goes on without this node.
    pub(super) fn is_left_behind(&self, node: &str) -> bool {
        self.left_behind.contains(node)
    }

    /// It has a certificate again. What is behind it may have the bundle of before.
    pub(super) fn is_back(&mut self, node: &str) {
        self.left_behind.remove(node);
    }

    /// It took what is newest.
    pub(super) fn again(&mut self, name: &str) {
        self.names.remove(name);
    }
}

/// What comes behind the name of a node in that of its consumer.
fn is_rest(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

impl Model {
    /// A node is put out, and what is on it.
    pub(crate) fn evicted(&mut self, node: &str) {
        self.disturbed(node, true);
        self.excused.names.insert(node.to_owned());
        self.excused.left_behind.insert(node.to_owned());
    }

    /// Somebody is not waited for, by the name that the control plane has for it.
    pub(crate) fn waived(&mut self, name: &str) {
        let node = name.split(' ').next().unwrap_or_default().to_owned();
        let uid = name
            .split("uid-")
            .nth(1)
            .and_then(|rest| rest.split(':').next());
        self.excused.names.insert(match uid {
            Some(uid) => format!("{node}/{uid}"),
            None => {
                self.excused.left_behind.insert(node.clone());
                node
            }
        });
    }

    /// The clock of a node, or without one of the control plane, is wrong from now on, or right.
    pub(crate) fn clock_is_wrong(&mut self, node: Option<String>, is_wrong: bool) {
        match (node, is_wrong) {
            (Some(node), true) => drop(self.excused.wrong_clocks.insert(node)),
            (Some(node), false) => drop(self.excused.wrong_clocks.remove(&node)),
            (None, true) => (self.excused.is_astray, self.excused.right_since) = (true, None),
            (None, false) => self.excused.right_since = Some(Instant::now()),
        }
    }
}
