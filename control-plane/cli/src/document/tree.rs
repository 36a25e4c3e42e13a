//! What YAML and JSON have in common: scalars, lists and maps, and where each is.

use super::{Mistake, Place};

/// Deepest nesting that is read: a label within a registration within a list within a document, and room
/// for one who errs.
pub(super) const MAX_DEPTH: usize = 8;

/// A value of a file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: Option<usize>,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing: `null`, `~`, or a key that nothing follows.
    Nothing,
    /// As it is written.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file; a key may stand there twice.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// A mistake that is made here.
    pub(super) fn mistake(&self, path: &str, problem: &str, remedy: &str) -> Mistake {
        Mistake {
            place: self.place(path),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    pub(super) fn place(&self, path: &str) -> Place {
        Place {
            line: self.line,
            path: path.to_owned(),
        }
    }
}
