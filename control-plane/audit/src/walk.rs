//! Recomputes a tree: down from the root to say which tile is wrong, up from the entries to say
//! which byte of it, and once along the leaves for the root of every checkpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tlog_tiles::{Hash, Tile, node_hash, record_hash};

use crate::bundle;
use crate::census::Census;
use crate::flaw::{Flaw, Flaws};
use crate::folder::{Folder, WIDTH, edge, full};
use crate::frontier::Frontier;
use crate::unread::Unread;

/// Height of a tile.
const HEIGHT: u32 = WIDTH.trailing_zeros();
/// How often a long walk tells how far it is, in entries.
const PROGRESS_EVERY: u64 = 65_536;

/// What is told how far a long walk is: entries that were read, entries of the log.
pub type Progress<'a> = &'a dyn Fn(u64, u64);

/// A tile as it was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) tile: Tile,
    pub(crate) hashes: Vec<Hash>,
}

impl Read {
    fn root(&self) -> Hash {
        perfect_root(&self.hashes)
    }
}

/// What a kept checkpoint says.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) path: PathBuf,
    pub(crate) origin: String,
    pub(crate) root: Hash,
}

/// The tree of the newest checkpoint, and what is expected of it.
pub(crate) struct Walk<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) progress: Progress<'a>,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) first_retained: u64,
    /// Kept checkpoints by size; those that are left at the end are of no size that was reached.
    pub(crate) claims: BTreeMap<u64, Vec<Claim>>,
    pub(crate) frontier: Frontier,
    pub(crate) census: Census<'a>,
    pub(crate) flaws: Flaws,
    /// Bytes of the bundles and tiles that were read.
    pub(crate) bytes: u64,
}

impl Walk<'_> {
    /// Walks below the tiles of the right edge, the highest level first.
    pub(crate) fn run(&mut self, edge: &[Read]) {
        // Together they give the root, or one of them is wrong.
        let trusted = edge_root(edge) == Some(self.root);
        for read in edge {
            self.below(read, trusted);
        }
        // What is wrong with a tile or an entry is said there and not here again.
        if self.flaws.is_empty() && self.frontier.root() != self.root {
            let path = self.folder.checkpoint_path();
            self.flaws
                .push(Flaw::new(&path, "its root hash is not that of the entries"));
        }
        self.left_over();
    }

    /// The newest checkpoint must be of the log that the entries end as: one from before a restore
    /// is not of what was restored, and the other way round. An origin that names no log id, and
    /// entries that name none, say nothing.
    pub(crate) fn is_called(&mut self, origin: &str) {
        let entries = self.census.log_id.map(|id| format!("{id:06x}"));
        let named = origin.rsplit_once("/countersign/log/").map(|(_, id)| id);
        if let (Some(entries), Some(named)) = (entries, named)
            && entries != named
        {
            let path = self.folder.checkpoint_path();
            let problem = format!("is one of log {named}, and its entries are those of {entries}");
            self.flaws.push(Flaw::new(&path, problem));
        }
    }

    fn below(&mut self, read: &Read, trusted: bool) {
        self.bytes += read.hashes.len() as u64 * Hash::default().0.len() as u64;
        let Some(level) = read.tile.level().checked_sub(1) else {
            return self.leaves(read, trusted);
        };
        for (place, hash) in (0u64..).zip(&read.hashes) {
            if self.flaws.is_full() {
                return;
            }
            let child = full(level, read.tile.level_index() * u64::from(WIDTH) + place);
            let path = self.folder.tile_path(child);
            let hashes = match self.folder.tile(child) {
                Ok(hashes) => hashes,
                Err(unread) => {
                    self.flaws.push(Flaw::new(&path, unread.to_string()));
                    self.advance(u32::from(level + 1) * HEIGHT, *hash);
                    continue;
                }
            };
            let below = Read {
                tile: child,
                hashes,
            };
            let agrees = below.root() == *hash;
            if !agrees && trusted {
                self.flaws
                    .push(Flaw::new(&path, "is not what the tile above it says"));
            } else if !agrees {
                let (path, offset) = (self.folder.tile_path(read.tile), place * 32);
                let problem = format!("is not the root of {}", child_name(child));
                self.flaws.push(Flaw::new(&path, problem).at(offset));
            }
            self.below(&below, agrees || !trusted);
        }
    }

    /// A tile of level 0 and its bundle.
    fn leaves(&mut self, read: &Read, trusted: bool) {
        let first = read.tile.level_index() * u64::from(WIDTH);
        let end = first + u64::from(read.tile.width());
        if first / PROGRESS_EVERY != end / PROGRESS_EVERY {
            (self.progress)(end, self.size);
        }
        let found = if end > self.first_retained {
            self.entries(read, first, trusted)
        } else {
            None
        };
        // The leaves that are sound, as far as can be told.
        match found.filter(|_| !trusted) {
            Some(leaves) => self.advance_leaves(&leaves),
            None => self.advance_leaves(&read.hashes),
        }
    }

    /// Checks the bundle of a tile; gives the hashes of its entries.
    fn entries(&mut self, read: &Read, first: u64, trusted: bool) -> Option<Vec<Hash>> {
        let path = self.folder.bundle_path(read.tile);
        let (bytes, whole) = match self.folder.bundle(read.tile) {
            Ok(found) => found,
            Err(Unread::Missing) if self.was_pruned(first) => return None,
            Err(unread) => {
                let flaw = Flaw::new(&path, unread.to_string()).of_entry(first);
                self.flaws.push(flaw);
                return None;
            }
        };
        self.bytes += bytes.len() as u64;
        let count = read.hashes.len();
        let placed = match bundle::entries(&bytes, count, whole) {
            Ok(placed) => placed,
            Err(offset) => {
                let problem = "the lengths of the entries do not add up";
                self.flaws.push(Flaw::new(&path, problem).at(offset));
                return None;
            }
        };
        let mut leaves = Vec::with_capacity(count);
        for ((index, placed), hash) in (first..).zip(&placed).zip(&read.hashes) {
            let leaf = record_hash(placed.entry);
            leaves.push(leaf);
            let flaw = if leaf == *hash || !trusted {
                let judged = self.census.add(index, placed.entry);
                judged
                    .err()
                    .map(|problem| Flaw::new(&path, problem).at(placed.offset))
            } else {
                let problem = "is not the entry whose hash is in the tree";
                Some(Flaw::new(&path, problem).at(placed.offset))
            };
            if let Some(flaw) = flaw {
                self.flaws.push(flaw.of_entry(index));
            }
            if leaf != *hash && !trusted {
                let (path, offset) = (self.folder.tile_path(read.tile), (index - first) * 32);
                let flaw = Flaw::new(&path, "is not the hash of the entry").at(offset);
                self.flaws.push(flaw.of_entry(index));
            }
        }
        Some(leaves)
    }

    /// Whether a bundle went while its log was walked.
    fn was_pruned(&self, first: u64) -> bool {
        let retained = self.folder.first_retained();
        retained.is_ok_and(|retained| first < retained)
    }

    fn advance_leaves(&mut self, leaves: &[Hash]) {
        let (begin, end) = (
            self.frontier.size(),
            self.frontier.size() + leaves.len() as u64,
        );
        let between = self.claims.range(begin + 1..end).next().is_some();
        if leaves.len() == WIDTH as usize && !between {
            return self.advance(HEIGHT, perfect_root(leaves));
        }
        for leaf in leaves {
            self.advance(0, *leaf);
        }
    }

    fn advance(&mut self, height: u32, root: Hash) {
        self.frontier.push(height, root);
        let size = self.frontier.size();
        for claim in self.claims.remove(&size).unwrap_or_default() {
            if self.frontier.root() != claim.root {
                let problem = format!("its root hash is not that of the first {size} entries");
                self.contradicted(&claim, size, problem);
            }
        }
    }

    /// Checkpoints of more entries than there are.
    fn left_over(&mut self) {
        let larger = self.claims.split_off(&(self.size + 1));
        for (size, claims) in larger {
            for claim in claims {
                let problem = format!("has {size} entries, the log only {}", self.size);
                self.contradicted(&claim, size, problem);
            }
        }
    }

    /// A checkpoint that this log does not go on from; where a restore is why, that is said.
    fn contradicted(&mut self, claim: &Claim, size: u64, problem: String) {
        let mut restores = self.census.restores.iter();
        let lost = restores.find(|from| from.is_from(&claim.origin) && size > from.entries);
        let problem = lost.map_or(problem, |from| {
            format!(
                "has {size} entries of log {}, and this log was restored from a backup of the \
                 first {}: what the others said is not in it",
                from.log_id, from.entries
            )
        });
        self.flaws.push(Flaw::new(&claim.path, problem));
    }
}

/// The root of the first entries of a log, from its tiles; they are not judged here.
pub(crate) fn root_at(folder: &Folder, size: u64) -> Result<Option<Hash>, Unread> {
    let read = edge(size).into_iter().map(|tile| {
        let hashes = folder.tile(tile)?;
        Ok(Read { tile, hashes })
    });
    let edge: Vec<Read> = read.collect::<Result<_, Unread>>()?;
    Ok(edge_root(&edge))
}

/// The root of a tree from the tiles of its right edge, the highest level first.
fn edge_root(edge: &[Read]) -> Option<Hash> {
    let mut frontier = Vec::new();
    for read in edge {
        let mut rest = &read.hashes[..];
        while !rest.is_empty() {
            let width = 1 << rest.len().ilog2();
            frontier.push(perfect_root(&rest[..width]));
            rest = &rest[width..];
        }
    }
    let joined = frontier.into_iter().rev();
    joined.reduce(|right, left| node_hash(left, right))
}

/// Root of a number of hashes that is a power of two.
fn perfect_root(hashes: &[Hash]) -> Hash {
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
    Tile::subtree_hash(&bytes)
}

fn child_name(child: Tile) -> String {
    let (level, number) = (child.level(), child.level_index());
    format!("tile {number} of level {level}")
}
