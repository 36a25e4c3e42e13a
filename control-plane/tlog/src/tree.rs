//! The Merkle tree (RFC 6962 section 2.1), kept as its right edge: the hashes of the tiles that
//! are not yet full. Appending costs one leaf hash and, on average, one node hash.

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};

use crate::TILE_WIDTH;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];
/// Hashes of a full tile.
pub(crate) const WIDTH: usize = 256;

/// Hash of an entry.
pub(crate) fn leaf_hash(entry: &[u8]) -> Hash {
    digest(&[&LEAF, entry])
}

/// Hash of two subtrees.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    digest(&[&NODE, left, right])
}

/// SHA-256 of the parts, one after the other.
pub(crate) fn digest(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Root of a subtree whose number of leaves is a power of two.
pub(crate) fn perfect_root(hashes: &[Hash]) -> Hash {
    debug_assert!(hashes.len().is_power_of_two());
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .map(|pair| node_hash(&pair[0], &pair[1]))
            .collect();
    }
    row[0]
}

/// A tile that became full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FullTile {
    pub(crate) level: u8,
    pub(crate) number: u64,
    pub(crate) hashes: Vec<Hash>,
}

/// The tiles that are not full, one a level, and how many leaves there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RightEdge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl RightEdge {
    /// The edge of a tree of `size` leaves; `hashes` reads the partial tile of a level.
    pub(crate) fn load<E>(
        size: u64,
        mut hashes: impl FnMut(PartialTile) -> Result<Vec<Hash>, E>,
    ) -> Result<Self, E> {
        let mut levels = vec![Vec::new(); height(size)];
        for partial in partials(size) {
            levels[usize::from(partial.level)] = hashes(partial)?;
        }
        Ok(Self { size, levels })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the partial tile of a level.
    pub(crate) fn level(&self, level: u8) -> &[Hash] {
        self.levels
            .get(usize::from(level))
            .map_or(&[], Vec::as_slice)
    }

    /// Adds a leaf; the tiles that it fills are pushed to `full`.
    pub(crate) fn push(&mut self, leaf: Hash, full: &mut Vec<FullTile>) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0u8.. {
            let index = usize::from(level);
            if self.levels.len() == index {
                self.levels.push(Vec::new());
            }
            self.levels[index].push(hash);
            if self.levels[index].len() < WIDTH {
                return;
            }
            let hashes = std::mem::take(&mut self.levels[index]);
            hash = perfect_root(&hashes);
            let number = (self.size >> shift(level + 1)) - 1;
            full.push(FullTile {
                level,
                number,
                hashes,
            });
        }
    }

    /// The root hash: the perfect subtrees of the edge, joined from the right.
    pub(crate) fn root(&self) -> Hash {
        let mut root = None;
        for hashes in &self.levels {
            let mut end = hashes.len();
            while end > 0 {
                let width = 1 << end.trailing_zeros();
                let subtree = perfect_root(&hashes[end - width..end]);
                root = Some(match root {
                    None => subtree,
                    Some(right) => node_hash(&subtree, &right),
                });
                end -= width;
            }
        }
        root.unwrap_or_else(|| digest(&[]))
    }
}

/// A tile of a tree that is not full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartialTile {
    pub(crate) level: u8,
    pub(crate) number: u64,
    pub(crate) width: u64,
}

/// The partial tiles of a tree of `size` leaves.
pub(crate) fn partials(size: u64) -> impl Iterator<Item = PartialTile> {
    (0u8..)
        .take_while(move |level| shift(*level) < u64::BITS && size >> shift(*level) > 0)
        .map(move |level| {
            let hashes = size >> shift(level);
            PartialTile {
                level,
                number: hashes / TILE_WIDTH,
                width: hashes % TILE_WIDTH,
            }
        })
        .filter(|partial| partial.width > 0)
}

/// Level by level, the numbers of the tiles that are full in a tree of `size` leaves and were not
/// in one of `before`.
pub(crate) fn fulls(before: u64, size: u64) -> impl Iterator<Item = (u8, Range<u64>)> {
    (0u8..)
        .take_while(move |level| shift(level + 1) < u64::BITS && size >> shift(level + 1) > 0)
        .map(move |level| (level, before >> shift(level + 1)..size >> shift(level + 1)))
}

fn height(size: u64) -> usize {
    (0u8..)
        .take_while(|level| shift(*level) < u64::BITS && size >> shift(*level) > 0)
        .count()
}

fn shift(level: u8) -> u32 {
    u32::from(level) * TILE_WIDTH.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, word for word.
    fn reference(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => digest(&[]),
            1 => leaves[0],
            n => {
                let split = n.next_power_of_two() / 2;
                node_hash(&reference(&leaves[..split]), &reference(&leaves[split..]))
            }
        }
    }

    #[test]
    fn root_is_that_of_the_rfc_at_every_size() {
        let leaves: Vec<Hash> = (0u32..1100).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let (mut edge, mut full) = (RightEdge::default(), Vec::new());
        assert_eq!(edge.root(), reference(&[]));
        for (n, leaf) in leaves.iter().enumerate() {
            edge.push(*leaf, &mut full);
            if n < 20 || n % 37 == 0 || (n + 1) % 256 < 2 {
                assert_eq!(edge.root(), reference(&leaves[..=n]), "{n}");
            }
        }
        let filled: Vec<(u8, u64)> = full.iter().map(|tile| (tile.level, tile.number)).collect();
        assert_eq!(filled, [(0, 0), (0, 1), (0, 2), (0, 3)]);
    }

    #[test]
    fn full_tiles_are_those_that_were_filled() {
        let (mut edge, mut full) = (RightEdge::default(), Vec::new());
        (0..700).for_each(|_| edge.push([7; 32], &mut full));
        full.clear();
        (700..66_000).for_each(|_| edge.push([7; 32], &mut full));
        let mut filled: Vec<_> = full.iter().map(|tile| (tile.level, tile.number)).collect();
        filled.sort_unstable();
        let numbered = fulls(700, 66_000).flat_map(|(level, numbers)| {
            numbers
                .map(move |number| (level, number))
                .collect::<Vec<_>>()
        });
        assert_eq!(numbered.collect::<Vec<_>>(), filled);
        assert_eq!(fulls(255, 255).count(), 0);
    }

    #[test]
    fn edge_comes_back_from_its_partial_tiles() {
        let (mut edge, mut full) = (RightEdge::default(), Vec::new());
        for n in 0u64..70_000 {
            edge.push(leaf_hash(&n.to_be_bytes()), &mut full);
        }
        let loaded = RightEdge::load(edge.size(), |partial| {
            let hashes = edge.level(partial.level);
            assert_eq!(hashes.len() as u64, partial.width);
            Ok::<_, ()>(hashes.to_vec())
        });
        assert_eq!(loaded.map(|loaded| loaded.root()), Ok(edge.root()));
        assert_eq!(partials(70_000).count(), 3);
        assert_eq!(partials(65_536).count(), 1);
    }
}
