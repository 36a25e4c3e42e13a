//! Our tree, tiles, proofs and notes against those of independent libraries, both ways.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use signed_note::{Note, Signer as _, StandardSigner, StandardVerifier, VerifierList};
use tempfile::TempDir;
use tlog_tiles as library;

use super::*;
use crate::key::NoteKey;
use crate::note::Checkpoint;
use crate::tile::{Written, tile_path};
use crate::tree::{RightEdge, leaf_hash, partials};

/// The library's tree: every hash in its own order.
struct Stored(Vec<library::Hash>);

impl library::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<library::Hash>, library::Error> {
        let at = |index: &u64| self.0[usize::try_from(*index).unwrap()];
        Ok(indexes.iter().map(at).collect())
    }
}

/// The same entries in our tiles on a disk and in the library's tree.
struct Both {
    folder: TempDir,
    edge: RightEdge,
    stored: Stored,
}

impl Both {
    fn new(size: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut edge, mut full) = (RightEdge::default(), Vec::new());
        let mut stored = Stored(Vec::new());
        for index in 0..size {
            let entry = index.to_be_bytes();
            edge.push(leaf_hash(&entry), &mut full);
            let more = library::stored_hashes(index, &entry, &stored).unwrap();
            stored.0.extend(more);
        }
        let mut written = Written::new(folder.path());
        for tile in full {
            written.tile(tile.level, tile.number, &tile.hashes).unwrap();
        }
        for tile in partials(size) {
            let hashes = edge.level(tile.level);
            written.tile(tile.level, tile.number, hashes).unwrap();
        }
        Self {
            folder,
            edge,
            stored,
        }
    }

    fn root(&self) -> library::Hash {
        library::Hash(self.edge.root())
    }
}

fn theirs(proof: &[Hash]) -> Vec<library::Hash> {
    proof.iter().copied().map(library::Hash).collect()
}

/// The standard leaves out the height that the library's paths name.
fn ours_of(tile: library::Tile) -> PathBuf {
    tile_path(tile.level(), tile.level_index(), tile.width().into())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn library_agrees_with_tree_tiles_and_proofs(
        size in 0u64..2000,
        index: proptest::sample::Index,
        earlier: proptest::sample::Index
    ) {
        let both = Both::new(size);
        let folder = both.folder.path();
        if size > 0 {
            prop_assert_eq!(library::tree_hash(size, &both.stored).unwrap(), both.root());
        }
        for tile in library::Tile::new_tiles(8, 0, size) {
            let bytes = std::fs::read(folder.join(ours_of(tile))).unwrap();
            prop_assert_eq!(tile.read_data(&both.stored).unwrap(), bytes);
        }
        prop_assume!(size > 0);
        let index = index.index(usize::try_from(size).unwrap()) as u64;
        let proof = theirs(&inclusion(folder, index, size).unwrap());
        prop_assert_eq!(&proof, &library::prove_record(size, index, &both.stored).unwrap());
        let leaf = library::record_hash(&index.to_be_bytes());
        prop_assert!(library::check_record(&proof, size, both.root(), index, leaf).is_ok());
        prop_assert!(library::check_record(&proof, size, both.root(), index ^ 1, leaf).is_err() || size == 1);

        let old = 1 + earlier.index(usize::try_from(size).unwrap()) as u64;
        let proof = theirs(&consistency(folder, old, size).unwrap());
        prop_assert_eq!(&proof, &library::prove_tree(size, old, &both.stored).unwrap());
        let before = library::tree_hash(old, &both.stored).unwrap();
        prop_assert!(library::check_tree(&proof, size, both.root(), old, before).is_ok());
        // A tree of one entry has the hash of that entry.
        let is_other = old < size && leaf != before;
        prop_assert!(!is_other || library::check_tree(&proof, size, both.root(), old, leaf).is_err());
    }

    #[test]
    fn library_reads_our_checkpoints_and_we_read_its(size: u64, root: [u8; 32], seed: [u8; 32]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        std::fs::write(&path, pair.to_pkcs8().unwrap()).unwrap();
        let key = NoteKey::open(&path, "example.org/log").unwrap();
        let checkpoint = Checkpoint { origin: "example.org/log".to_owned(), size, root };

        let note = Note::from_bytes(checkpoint.sign(&key).as_bytes()).unwrap();
        let verifier = StandardVerifier::new(&key.verifier_key()).unwrap();
        prop_assert!(note.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok());
        let read = library::Checkpoint::from_bytes(note.text()).unwrap();
        prop_assert_eq!((read.origin(), read.size(), read.hash().0), ("example.org/log", size, root));

        let typed = STANDARD.encode([&[1][..], &seed].concat());
        let id = u32::from_be_bytes(key.id());
        let signer = StandardSigner::new(&format!("PRIVATE+KEY+example.org/log+{id:08x}+{typed}")).unwrap();
        prop_assert_eq!(signer.name(), key.name());
        let mut note = Note::new(&read.to_bytes(), &[]).unwrap();
        note.add_sigs(&[&signer]).unwrap();
        prop_assert_eq!(Checkpoint::open(&note.to_bytes(), &key), Ok(checkpoint));
    }
}
