//! Places by their holder, and who has the most of them: pure.
//!
//! Every step costs the logarithm of what is taken, so a flood costs no more for each connection than a
//! quiet day does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// One place, told apart from every other. A later one is greater.
pub(crate) type Ticket = u64;

/// The places that are taken, by their holder, with a note on each.
#[derive(Debug)]
pub(crate) struct Ranking<H, T> {
    taken: BTreeMap<H, BTreeMap<Ticket, T>>,
    /// Every holder by how much it has; of those with as much, the one with the oldest last.
    holders: BTreeSet<(usize, Reverse<Ticket>, H)>,
    len: usize,
}

impl<H, T> Default for Ranking<H, T> {
    fn default() -> Self {
        Self {
            taken: BTreeMap::new(),
            holders: BTreeSet::new(),
            len: 0,
        }
    }
}

impl<H: Ord + Clone, T> Ranking<H, T> {
    /// How many places are taken.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many of them one holder has.
    pub(crate) fn of(&self, holder: &H) -> usize {
        self.taken.get(holder).map_or(0, BTreeMap::len)
    }

    /// The places of one holder, the oldest first.
    pub(crate) fn places_of(
        &self,
        holder: &H,
    ) -> impl DoubleEndedIterator<Item = (Ticket, &T)> + use<'_, H, T> {
        let taken = self.taken.get(holder).into_iter().flatten();
        taken.map(|(ticket, note)| (*ticket, note))
    }

    /// Who would have the most with one more of this holder; that one itself rather than another.
    pub(crate) fn greediest(&self, holder: &H) -> H {
        match self.holders.last() {
            Some((most, _, other)) if self.of(holder) < *most => other.clone(),
            _ => holder.clone(),
        }
    }

    /// One more place of this holder.
    pub(crate) fn insert(&mut self, holder: &H, ticket: Ticket, note: T) {
        let replaced = self.change(holder, |tickets| tickets.insert(ticket, note));
        self.len += usize::from(replaced.is_none());
    }

    /// Takes a place away, with its note; `None` where it is gone already.
    pub(crate) fn remove(&mut self, holder: &H, ticket: Ticket) -> Option<T> {
        let note = self.change(holder, |tickets| tickets.remove(&ticket));
        self.len -= usize::from(note.is_some());
        note
    }

    /// Takes the oldest place of a holder away.
    pub(crate) fn remove_oldest(&mut self, holder: &H) -> Option<T> {
        let (oldest, _) = self.places_of(holder).next()?;
        self.remove(holder, oldest)
    }

    /// Changes what a holder has, and its rank with it.
    fn change<R>(&mut self, holder: &H, change: impl FnOnce(&mut BTreeMap<Ticket, T>) -> R) -> R {
        let mut tickets = self.taken.remove(holder).unwrap_or_default();
        if let Some(rank) = rank(holder, &tickets) {
            self.holders.remove(&rank);
        }
        let result = change(&mut tickets);
        if let Some(rank) = rank(holder, &tickets) {
            self.holders.insert(rank);
            self.taken.insert(holder.clone(), tickets);
        }
        result
    }

    #[cfg(test)]
    pub(crate) fn is_consistent(&self) -> bool {
        let taken: usize = self.taken.values().map(BTreeMap::len).sum();
        taken == self.len && self.holders.len() == self.taken.len()
    }
}

fn rank<H: Clone, T>(
    holder: &H,
    tickets: &BTreeMap<Ticket, T>,
) -> Option<(usize, Reverse<Ticket>, H)> {
    let (oldest, _) = tickets.first_key_value()?;
    Some((tickets.len(), Reverse(*oldest), holder.clone()))
}
