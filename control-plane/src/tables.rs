//! Tables that give back the room they no longer need: a hash table grows by doubling and never
//! shrinks by itself, so one busy hour would be paid for ever.

use std::collections::HashMap;
use std::hash::Hash;

/// A table with more room than this many times what is in it gives some back.
const SPACIOUS: usize = 4;
/// A table with room for this many need not become smaller.
const SMALLEST: usize = 1_024;

/// Gives back what a table that has become much smaller no longer needs. Some room stays, so that
/// a table that comes and goes is not moved each time.
pub(crate) fn give_back<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    let wanted = table.len().max(SMALLEST);
    if table.capacity() > SPACIOUS * wanted {
        table.shrink_to(2 * wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
