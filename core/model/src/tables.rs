//! Large tables whose entries end: they are looked through only when something can have ended, and
//! give back the room they no longer need. A hash table grows by doubling and never shrinks by
//! itself, so one busy hour would be paid for ever.

use std::collections::HashMap;
use std::hash::Hash;

use jiff::Timestamp;

/// A table with more room than this many times what is in it gives some back.
const SPACIOUS: usize = 4;
/// A table with room for this many need not become smaller.
const SMALLEST: usize = 1_024;

/// Gives back what a table that has become much smaller no longer needs. Some room stays, so that
/// a table that comes and goes is not moved each time.
pub fn give_back<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    let wanted = table.len().max(SMALLEST);
    if table.capacity() > SPACIOUS * wanted {
        table.shrink_to(2 * wanted);
    }
}

/// No later than the first end of what is in a table; `None` where nothing is.
#[derive(Debug, Default)]
pub struct FirstEnd(Option<Timestamp>);

impl FirstEnd {
    /// Something that ends then came into the table.
    pub fn note(&mut self, end: Timestamp) {
        self.0 = Some(self.0.map_or(end, |first| first.min(end)));
    }

    /// Whether anything can have ended before this time.
    pub fn is_before(&self, time: Timestamp) -> bool {
        self.0.is_some_and(|first| first < time)
    }

    /// The ends of what is left in a table that was looked through.
    pub fn follow(&mut self, ends: impl Iterator<Item = Timestamp>) {
        self.0 = ends.min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn first_end_is_never_too_late() {
        let mut first = FirstEnd::default();
        assert!(!first.is_before(Timestamp::MAX), "nothing is there");
        [7, 5, 9]
            .map(at)
            .into_iter()
            .for_each(|end| first.note(end));
        assert!(!first.is_before(at(5)) && first.is_before(at(6)));
        first.follow([7, 9].map(at).into_iter());
        assert!(!first.is_before(at(7)) && first.is_before(at(8)));
        first.follow(std::iter::empty());
        assert!(!first.is_before(Timestamp::MAX));
    }

    fn room_after(before: u32, left: u32) -> usize {
        let mut table: HashMap<u32, u32> = (0..before).map(|n| (n, n)).collect();
        table.retain(|n, _| *n < left);
        give_back(&mut table);
        assert_eq!(u32::try_from(table.len()).unwrap(), left);
        table.capacity()
    }

    #[test]
    fn room_follows_what_is_left() {
        assert!(room_after(100_000, 10_000) < 8 * 10_000);
        assert!(room_after(100_000, 0) < 8 * SMALLEST);
    }

    #[test]
    fn small_change_moves_nothing() {
        assert!(room_after(100_000, 90_000) >= 100_000);
        assert!(room_after(500, 1) >= 500);
    }
}
