//! The tree of a log as the library reads it. The library holds tiles against the root of the
//! checkpoint before it uses them, but not every one: whoever takes hashes from here checks the
//! proof that they make, as `judge` does.

use std::cell::RefCell;

use tlog_tiles::{
    Checkpoint, Error, HASH_SIZE, Hash, Tile, TileHashReader, TileReader, prove_record,
};

use crate::folder::{Folder, HEIGHT};

/// The hashes beside the way of an entry to the root, lowest first. `Err` says what is wrong with the
/// tiles.
pub(crate) fn inclusion(
    folder: &Folder,
    checkpoint: &Checkpoint,
    index: u64,
) -> Result<Vec<Hash>, String> {
    let tiles = Tiles {
        folder,
        unread: RefCell::default(),
    };
    let reader = TileHashReader::new(checkpoint.size(), *checkpoint.hash(), &tiles);
    let proof = prove_record(checkpoint.size(), index, &reader);
    let unread = tiles.unread.take();
    proof.map_err(|error| {
        unread.unwrap_or_else(|| {
            format!("the tree of the checkpoint is not that of the tiles: {error}")
        })
    })
}

struct Tiles<'a> {
    folder: &'a Folder,
    /// The first tile that was not read: the library's errors have no room for it.
    unread: RefCell<Option<String>>,
}

impl TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let tiles = tiles.iter().map(|tile| self.read(*tile));
        tiles.collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

impl Tiles<'_> {
    fn read(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        match self.folder.tile(tile) {
            Ok(hashes) => {
                let mut bytes = Vec::with_capacity(hashes.len() * HASH_SIZE);
                bytes.extend(hashes.iter().flat_map(|hash| hash.0));
                Ok(bytes)
            }
            Err(unread) => {
                let path = self.folder.tile_path(tile);
                let unread = format!("{} {unread}", path.display());
                self.unread.borrow_mut().get_or_insert(unread);
                Err(Error::InvalidTile)
            }
        }
    }
}
