//! Proofs (RFC 6962 sections 2.1.1 and 2.1.2) from the tiles of a folder, for anybody who can read
//! it: the log need not be open.

use std::collections::HashMap;
use std::path::Path;

use crate::tile::read_tile;
use crate::tree::{node_hash, perfect_root};
use crate::{Hash, LogError, TILE_WIDTH};

/// Levels of the tree within a tile.
const HEIGHT: u32 = TILE_WIDTH.trailing_zeros();

/// That entry `index` is in the tree of `size` entries: the hashes beside its way to the root,
/// lowest first. Empty where the index is not in the tree.
///
/// # Errors
/// A tile that a checkpoint of that size covers is missing or cannot be read.
pub fn inclusion(log: &Path, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
    let mut tiles = Tiles::new(log, size);
    let mut proof = Vec::new();
    if index < size {
        tiles.path(index, 0, size, &mut proof)?;
    }
    Ok(proof)
}

/// That the tree of `size` entries begins with the tree of `old` entries. Empty where the sizes are
/// equal or one of them is no tree.
///
/// # Errors
/// As [`inclusion`].
pub fn consistency(log: &Path, old: u64, size: u64) -> Result<Vec<Hash>, LogError> {
    let mut tiles = Tiles::new(log, size);
    let mut proof = Vec::new();
    if 0 < old && old < size {
        tiles.subproof(old, 0, size, true, &mut proof)?;
    }
    Ok(proof)
}

/// The tiles of one proof: a few dozen at most, each read once.
struct Tiles<'a> {
    log: &'a Path,
    size: u64,
    read: HashMap<(u8, u64), Vec<Hash>>,
}

impl<'a> Tiles<'a> {
    fn new(log: &'a Path, size: u64) -> Self {
        Self {
            log,
            size,
            read: HashMap::new(),
        }
    }

    /// PATH(index, D[begin:end]).
    fn path(
        &mut self,
        index: u64,
        begin: u64,
        end: u64,
        proof: &mut Vec<Hash>,
    ) -> Result<(), LogError> {
        if end - begin == 1 {
            return Ok(());
        }
        let middle = split(begin, end);
        let beside = if index < middle {
            self.path(index, begin, middle, proof)?;
            self.root(middle, end)?
        } else {
            self.path(index, middle, end, proof)?;
            self.root(begin, middle)?
        };
        proof.push(beside);
        Ok(())
    }

    /// SUBPROOF(old, D[begin:end], whole): `whole` as long as the verifier knows the left root.
    fn subproof(
        &mut self,
        old: u64,
        begin: u64,
        end: u64,
        whole: bool,
        proof: &mut Vec<Hash>,
    ) -> Result<(), LogError> {
        if old == end {
            if !whole {
                proof.push(self.root(begin, end)?);
            }
            return Ok(());
        }
        let middle = split(begin, end);
        let beside = if old <= middle {
            self.subproof(old, begin, middle, whole, proof)?;
            self.root(middle, end)?
        } else {
            self.subproof(old, middle, end, false, proof)?;
            self.root(begin, middle)?
        };
        proof.push(beside);
        Ok(())
    }

    /// MTH(D[begin:end]), where `begin` is a multiple of the smallest power of two ≥ the width.
    fn root(&mut self, begin: u64, end: u64) -> Result<Hash, LogError> {
        if (end - begin).is_power_of_two() {
            return self.perfect(begin, end - begin);
        }
        let middle = split(begin, end);
        let right = self.root(middle, end)?;
        Ok(node_hash(&self.root(begin, middle)?, &right))
    }

    /// A perfect subtree: some hashes of one tile, joined.
    fn perfect(&mut self, begin: u64, width: u64) -> Result<Hash, LogError> {
        let level = width.trailing_zeros() / HEIGHT;
        let (first, count) = (begin >> (level * HEIGHT), width >> (level * HEIGHT));
        let level = u8::try_from(level).expect("a tree of 64 levels has 8 levels of tiles");
        let hashes = self.tile(level, first / TILE_WIDTH)?;
        let begin = usize::try_from(first % TILE_WIDTH).expect("a tile has 256 hashes");
        let count = usize::try_from(count).expect("a tile has 256 hashes");
        Ok(perfect_root(&hashes[begin..begin + count]))
    }

    fn tile(&mut self, level: u8, number: u64) -> Result<&[Hash], LogError> {
        if !self.read.contains_key(&(level, number)) {
            let hashes = self.size >> (u32::from(level) * HEIGHT);
            let width = TILE_WIDTH.min(hashes - number * TILE_WIDTH);
            let tile = read_tile(self.log, level, number, width)?;
            self.read.insert((level, number), tile);
        }
        Ok(&self.read[&(level, number)])
    }
}

/// Where RFC 6962 splits a tree: behind the largest power of two below its width.
fn split(begin: u64, end: u64) -> u64 {
    begin + (end - begin).next_power_of_two() / 2
}

#[cfg(test)]
mod tests;
