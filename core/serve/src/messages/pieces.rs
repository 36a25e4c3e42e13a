//! Bytes that are kept until they are read, in pieces that never move.
//!
//! A buffer that grows is copied to a larger place again and again, and leaves holes that the next
//! one does not fit in: a third of what a flood cost was lost between them. A piece stays where it is,
//! and all that are full are of one length, so that the next has room where one was.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// The longest piece.
pub(super) const PIECE_BYTES: usize = 4 * 1024;
/// The shortest: so a caller that sends byte by byte makes few.
const LEAST_BYTES: usize = 64;

/// Bytes in order. What they take is known at any moment.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: VecDeque<BytesMut>,
    length: usize,
    held: usize,
}

impl Pieces {
    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many bytes of memory they take.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Appends a copy.
    pub(super) fn put(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            let piece = self.with_room(bytes.len());
            let room = piece.capacity() - piece.len();
            let (here, rest) = bytes.split_at(room.min(bytes.len()));
            piece.extend_from_slice(here);
            bytes = rest;
        }
    }

    /// The last piece if it has room, or a new one: as long as what comes, or as all before it.
    fn with_room(&mut self, coming: usize) -> &mut BytesMut {
        let has_room = |piece: &BytesMut| piece.len() < piece.capacity();
        if !self.pieces.back().is_some_and(has_room) {
            let long = coming.max(self.held).clamp(LEAST_BYTES, PIECE_BYTES);
            let piece = BytesMut::with_capacity(long);
            self.held += piece.capacity();
            self.pieces.push_back(piece);
        }
        self.pieces.back_mut().expect("there is one now")
    }

    /// The first piece.
    pub(super) fn first_mut(&mut self) -> Option<&mut BytesMut> {
        self.pieces.front_mut()
    }

    /// Takes the first piece away, with what it takes.
    pub(super) fn pop(&mut self) -> Option<(Bytes, usize)> {
        let piece = self.pieces.pop_front()?;
        let held = piece.capacity();
        self.length -= piece.len();
        self.held -= held;
        if self.pieces.is_empty() {
            // Nothing is kept of what waited once.
            self.pieces = VecDeque::new();
        }
        Some((piece.freeze(), held))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything, and what it took at most.
    fn all(mut pieces: Pieces) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        let mut taken = 0;
        while let Some((piece, held)) = pieces.pop() {
            bytes.extend(piece);
            taken += held;
        }
        assert_eq!((pieces.len(), pieces.held()), (0, 0));
        (bytes, taken)
    }

    proptest! {
        #[test]
        fn bytes_come_back_in_order_and_take_what_is_told(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9_000), 0..12),
        ) {
            let mut pieces = Pieces::default();
            for bytes in &sent {
                pieces.put(bytes);
            }
            let (length, held) = (pieces.len(), pieces.held());
            let expected = sent.concat();
            prop_assert_eq!(length, expected.len());
            prop_assert_eq!(all(pieces), (expected, held));
        }
    }

    #[test]
    fn no_more_is_held_than_a_piece_beyond_the_bytes() {
        for step in [1, 100, 5_000] {
            let mut pieces = Pieces::default();
            for count in 1..=40_000 / step {
                pieces.put(&vec![7; step]);
                let most = (2 * count * step + LEAST_BYTES).min(count * step + PIECE_BYTES);
                assert!(
                    pieces.held() <= most,
                    "{} of {}",
                    pieces.held(),
                    pieces.len()
                );
            }
            assert!(
                pieces
                    .pieces
                    .iter()
                    .all(|piece| piece.capacity() <= PIECE_BYTES)
            );
        }
    }

    #[test]
    fn single_bytes_make_few_pieces() {
        let mut pieces = Pieces::default();
        (0..20_000).for_each(|_| pieces.put(b"x"));
        assert!(pieces.pieces.len() <= 12, "{}", pieces.pieces.len());
    }
}
