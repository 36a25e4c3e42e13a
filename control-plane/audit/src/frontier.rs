//! The root of every prefix of a tree, from its leaves in order: the perfect subtrees that are
//! complete so far, widest first.

use sha2::{Digest, Sha256};
use tlog_tiles::{Hash, node_hash};

/// The perfect subtrees of the leaves that were added so far.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    size: u64,
    /// Height and root of each subtree.
    subtrees: Vec<(u32, Hash)>,
}

impl Frontier {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a perfect subtree of `2^height` leaves, to a size that is a multiple of that.
    pub(crate) fn push(&mut self, mut height: u32, mut root: Hash) {
        self.size += 1 << height;
        while let Some((_, left)) = self.subtrees.pop_if(|(left, _)| *left == height) {
            root = node_hash(left, root);
            height += 1;
        }
        self.subtrees.push((height, root));
    }

    pub(crate) fn root(&self) -> Hash {
        let roots = self.subtrees.iter().rev().map(|(_, root)| *root);
        let joined = roots.reduce(|right, left| node_hash(left, right));
        joined.unwrap_or_else(|| Hash(Sha256::digest([]).into()))
    }
}
