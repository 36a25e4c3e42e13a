//! Who gets a place, and who loses one for it: pure.
//!
//! Places are shared out by demand. A holder may have as many as nobody else wants; what has to go
//! when there are too many is decided by [`Surplus`]. Every step costs the logarithm of what is
//! open, so a flood costs no more for each connection than a quiet day does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Under [`Surplus::Refused`] a holder has at most so many times the places that are free: one
/// alone three quarters of all, and whoever comes next finds a quarter.
const TIMES_THE_FREE: usize = 3;

/// How many places there are, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of all holders together; at least one.
    pub total: usize,
    /// Of one holder; at least one.
    pub each: usize,
    /// What becomes of one too many.
    pub surplus: Surplus,
}

/// What becomes of one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surplus {
    /// It comes in. The oldest of its own holder goes where that has its share, otherwise the
    /// oldest of whoever has the most: for what nobody has proved anything about yet.
    OldestGoes,
    /// The oldest of its own holder goes; it is refused where all places are others'.
    OldestOfItsOwnGoes,
    /// It is refused, and so that nobody takes all, already where its holder has so many times the
    /// places that are free (`TIMES_THE_FREE`): what carries somebody's work is not cut for others.
    Refused,
}

/// One place, told apart from every other of the same budget.
pub(super) type Ticket = u64;

/// There is no place for this holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The places that are taken, by their holder, with a note on each.
#[derive(Debug)]
pub(super) struct Budget<H, T> {
    bounds: Bounds,
    taken: BTreeMap<H, BTreeMap<Ticket, T>>,
    /// Every holder by how much it has; of those with as much, the one with the oldest last.
    ranking: BTreeSet<(usize, Reverse<Ticket>, H)>,
    open: usize,
    next: Ticket,
}

impl<H: Ord + Clone, T> Budget<H, T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        let bounds = Bounds {
            total: bounds.total.max(1),
            each: bounds.each.max(1),
            ..bounds
        };
        Self {
            bounds,
            taken: BTreeMap::new(),
            ranking: BTreeSet::new(),
            open: 0,
            next: 0,
        }
    }

    /// How many places are taken.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// A place for one more of this holder, and the note on the place that it took over.
    pub(super) fn enter(&mut self, holder: &H, note: T) -> Result<(Ticket, Option<T>), Full> {
        let loser = self.loser(holder)?;
        let displaced = loser.and_then(|loser| self.remove(&loser, None));
        let ticket = self.next;
        self.next += 1;
        self.change(holder, |tickets| tickets.insert(ticket, note));
        self.open += 1;
        Ok((ticket, displaced))
    }

    /// Gives a place back. One that was taken over is gone already.
    pub(super) fn leave(&mut self, holder: &H, ticket: Ticket) {
        self.remove(holder, Some(ticket));
    }

    /// Takes the place of a holder away whose note weighs most, of equal ones the oldest; that note.
    pub(super) fn displace_heaviest(
        &mut self,
        holder: &H,
        weight: impl Fn(&T) -> usize,
    ) -> Option<T> {
        let tickets = self.taken.get(holder)?.iter();
        let (heaviest, _) = tickets.rev().max_by_key(|(_, note)| weight(note))?;
        self.remove(holder, Some(*heaviest))
    }

    /// Whose oldest has to go for one more of this holder.
    fn loser(&self, holder: &H) -> Result<Option<H>, Full> {
        let Bounds {
            total,
            each,
            surplus,
        } = self.bounds;
        let own = self.taken.get(holder).map_or(0, BTreeMap::len);
        let free = total - self.open;
        match surplus {
            Surplus::Refused if own >= each || own >= TIMES_THE_FREE * free => Err(Full),
            Surplus::OldestOfItsOwnGoes if free == 0 && own == 0 => Err(Full),
            _ if own < each && free > 0 => Ok(None),
            Surplus::OldestGoes if own < each => Ok(Some(self.greediest(holder, own))),
            _ => Ok(Some(holder.clone())),
        }
    }

    /// Who would have the most with one more of this holder; that one itself rather than another.
    fn greediest(&self, holder: &H, own: usize) -> H {
        match self.ranking.last() {
            Some((most, _, other)) if own < *most => other.clone(),
            _ => holder.clone(),
        }
    }

    /// Takes a place away: this one, or the oldest.
    fn remove(&mut self, holder: &H, ticket: Option<Ticket>) -> Option<T> {
        let note = self.change(holder, |tickets| match ticket {
            Some(ticket) => tickets.remove(&ticket),
            None => tickets.pop_first().map(|(_, note)| note),
        });
        self.open -= usize::from(note.is_some());
        note
    }

    /// Changes what a holder has, and its rank with it.
    fn change<R>(&mut self, holder: &H, change: impl FnOnce(&mut BTreeMap<Ticket, T>) -> R) -> R {
        let mut tickets = self.taken.remove(holder).unwrap_or_default();
        if let Some(rank) = rank(holder, &tickets) {
            self.ranking.remove(&rank);
        }
        let result = change(&mut tickets);
        if let Some(rank) = rank(holder, &tickets) {
            self.ranking.insert(rank);
            self.taken.insert(holder.clone(), tickets);
        }
        result
    }
}

fn rank<H: Clone, T>(
    holder: &H,
    tickets: &BTreeMap<Ticket, T>,
) -> Option<(usize, Reverse<Ticket>, H)> {
    let (oldest, _) = tickets.first_key_value()?;
    Some((tickets.len(), Reverse(*oldest), holder.clone()))
}

#[cfg(test)]
mod tests;
