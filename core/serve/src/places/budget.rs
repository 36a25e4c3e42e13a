//! Who gets a place, and who loses one for it: pure.
//!
//! Places are shared out by demand. A holder may have as many as nobody else wants; what has to go
//! when there are too many is decided by [`Surplus`].

use super::ranking::{Ranking, Ticket};

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

/// There is no place for this holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The places that are taken, within their bounds.
#[derive(Debug)]
pub(super) struct Budget<H, T> {
    bounds: Bounds,
    taken: Ranking<H, T>,
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
            taken: Ranking::default(),
            next: 0,
        }
    }

    /// How many places are taken.
    pub(super) fn open(&self) -> usize {
        self.taken.len()
    }

    /// A place for one more of this holder, and the note on the place that it took over.
    pub(super) fn enter(&mut self, holder: &H, note: T) -> Result<(Ticket, Option<T>), Full> {
        let loser = self.loser(holder)?;
        let displaced = loser.and_then(|loser| self.taken.remove_oldest(&loser));
        let ticket = self.next;
        self.next += 1;
        self.taken.insert(holder, ticket, note);
        Ok((ticket, displaced))
    }

    /// Gives a place back. One that was taken over is gone already.
    pub(super) fn leave(&mut self, holder: &H, ticket: Ticket) {
        self.taken.remove(holder, ticket);
    }

    /// Takes the place of a holder away whose note weighs most, of equal ones the oldest; that note.
    pub(super) fn displace_heaviest(
        &mut self,
        holder: &H,
        weight: impl Fn(&T) -> usize,
    ) -> Option<T> {
        let places = self.taken.places_of(holder);
        let (heaviest, _) = places.rev().max_by_key(|(_, note)| weight(note))?;
        self.taken.remove(holder, heaviest)
    }

    /// Whose oldest has to go for one more of this holder.
    fn loser(&self, holder: &H) -> Result<Option<H>, Full> {
        let Bounds {
            total,
            each,
            surplus,
        } = self.bounds;
        let own = self.taken.of(holder);
        let free = total - self.open();
        match surplus {
            Surplus::Refused if own >= each || own >= TIMES_THE_FREE * free => Err(Full),
            Surplus::OldestOfItsOwnGoes if free == 0 && own == 0 => Err(Full),
            _ if own < each && free > 0 => Ok(None),
            Surplus::OldestGoes if own < each => Ok(Some(self.taken.greediest(holder))),
            _ => Ok(Some(holder.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
