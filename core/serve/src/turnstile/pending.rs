//! Which handshake goes when one more comes than there are places: pure.
//!
//! Whoever has said a complete ClientHello has taken the first step of the protocol, and what is missing
//! then takes one round trip, however long that is. So those who have not go first. But a newcomer has
//! said nothing either, and needs a place to say it: a share of the places is for such as long as
//! they want it.

use crate::places::{Ranking, Ticket};

/// One place of so many is for peers that have not said their hello yet, whatever others have said.
const SHARE_OF_THE_SILENT: usize = 4;

/// The handshakes under way, by their source, with a note on each.
#[derive(Debug)]
pub(super) struct Pending<H, T> {
    total: usize,
    silent: Ranking<H, T>,
    greeted: Ranking<H, T>,
    next: Ticket,
}

impl<H: Ord + Clone, T> Pending<H, T> {
    /// With so many places, at least one.
    pub(super) fn new(total: usize) -> Self {
        Self {
            total: total.max(1),
            silent: Ranking::default(),
            greeted: Ranking::default(),
            next: 0,
        }
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// How many places are taken.
    pub(super) fn open(&self) -> usize {
        self.silent.len() + self.greeted.len()
    }

    /// A place for one that was just accepted, and the note on the place that it took over.
    pub(super) fn enter(&mut self, source: &H, note: T) -> (Ticket, Option<T>) {
        let displaced = match self.open() < self.total {
            true => None,
            false => self.displace(source),
        };
        let ticket = self.next;
        self.next += 1;
        self.silent.insert(source, ticket, note);
        (ticket, displaced)
    }

    /// It has said its hello. One that was displaced has nothing to gain by it.
    pub(super) fn greet(&mut self, source: &H, ticket: Ticket) {
        if let Some(note) = self.silent.remove(source, ticket) {
            self.greeted.insert(source, ticket, note);
        }
    }

    /// Gives a place back. One that was taken over is gone already.
    pub(super) fn leave(&mut self, source: &H, ticket: Ticket) {
        if self.silent.remove(source, ticket).is_none() {
            self.greeted.remove(source, ticket);
        }
    }

    /// The oldest goes of the source with the most.
    fn displace(&mut self, newcomer: &H) -> Option<T> {
        let least = self.total.div_ceil(SHARE_OF_THE_SILENT);
        let stage = match self.silent.len() < least {
            true => &mut self.greeted,
            false => &mut self.silent,
        };
        let loser = stage.greediest(newcomer);
        stage.remove_oldest(&loser)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Source = u8;

    /// What was displaced by so many newcomers, each from another source, and each of which says
    /// its hello or nothing.
    fn flood(
        pending: &mut Pending<u32, u32>,
        sources: std::ops::Range<u32>,
        greets: bool,
    ) -> Vec<u32> {
        let mut displaced = Vec::new();
        for source in sources {
            let (ticket, loser) = pending.enter(&source, source);
            displaced.extend(loser);
            if greets {
                pending.greet(&source, ticket);
            }
        }
        displaced
    }

    #[test]
    fn who_has_said_hello_outlasts_any_number_that_have_not() {
        let mut pending = Pending::new(100);
        flood(&mut pending, 0..75, true);
        let displaced = flood(&mut pending, 1_000..3_000, false);
        assert_eq!(displaced, (1_000..2_975).collect::<Vec<_>>());
    }

    #[test]
    fn a_share_is_for_who_has_said_nothing_yet() {
        let mut pending = Pending::new(100);
        flood(&mut pending, 0..100, true);
        // The oldest make room for a quarter, and from then on newcomers for each other.
        let displaced = flood(&mut pending, 1_000..1_030, false);
        assert_eq!(displaced, (0..25).chain(1_000..1_005).collect::<Vec<_>>());
    }

    #[test]
    fn hellos_displace_each_other_in_order() {
        let mut pending = Pending::new(100);
        let displaced = flood(&mut pending, 0..1_000, true);
        assert_eq!(displaced, (0..900).collect::<Vec<_>>());
    }

    #[test]
    fn source_with_the_most_hellos_gives_way() {
        let mut pending = Pending::new(10);
        flood(&mut pending, 0..1, true);
        for _ in 0..100 {
            let (ticket, displaced) = pending.enter(&7, 7);
            assert!(displaced.is_none_or(|loser| loser == 7));
            pending.greet(&7, ticket);
        }
        assert_eq!(pending.greeted.of(&0), 1);
    }

    #[test]
    fn the_only_place_is_the_newcomers() {
        let mut pending = Pending::new(1);
        assert_eq!(flood(&mut pending, 0..4, true), [0, 1, 2]);
        assert_eq!(flood(&mut pending, 4..8, false), [3, 4, 5, 6]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Arrives(Source),
        /// One of those that arrived so far, also one that is gone.
        Greets(usize),
        Leaves(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            4 => (0..6_u8).prop_map(Event::Arrives),
            3 => (0..200_usize).prop_map(Event::Greets),
            1 => (0..200_usize).prop_map(Event::Leaves),
        ];
        proptest::collection::vec(event, 0..200)
    }

    /// The same by looking at everything: tickets in the order of arrival, and who has said hello.
    #[derive(Default)]
    struct Model(Vec<(Ticket, Source, bool)>);

    impl Model {
        fn count(&self, wanted: impl Fn(&(Ticket, Source, bool)) -> bool) -> usize {
            self.0.iter().filter(|it| wanted(it)).count()
        }

        /// Who goes for a newcomer of this source.
        fn loser(&self, total: usize, newcomer: Source) -> Option<Ticket> {
            if self.0.len() < total {
                return None;
            }
            let is_greeted = self.count(|it| !it.2) < total.div_ceil(SHARE_OF_THE_SILENT);
            let of = |source| self.count(|it| it.1 == source && it.2 == is_greeted);
            let most = (0..6).map(of).max().unwrap();
            let loses = |source| match of(newcomer) == most {
                true => source == newcomer,
                false => of(source) == most,
            };
            let mut losers = self.0.iter().filter(|it| it.2 == is_greeted && loses(it.1));
            losers.next().map(|it| it.0)
        }
    }

    proptest! {
        #[test]
        fn newcomers_displace_whom_the_rules_say(total in 1..12_usize, events in events()) {
            let mut pending = Pending::new(total);
            let mut model = Model::default();
            let mut all = Vec::new();
            for event in events {
                match event {
                    Event::Arrives(source) => {
                        let loser = model.loser(total, source);
                        let (ticket, displaced) = pending.enter(&source, pending.next);
                        prop_assert_eq!(displaced, loser);
                        model.0.retain(|it| Some(it.0) != loser);
                        model.0.push((ticket, source, false));
                        all.push((ticket, source));
                    }
                    Event::Greets(at) if at < all.len() => {
                        let (ticket, source) = all[at];
                        pending.greet(&source, ticket);
                        let place = model.0.iter_mut().find(|it| it.0 == ticket);
                        place.into_iter().for_each(|it| it.2 = true);
                    }
                    Event::Leaves(at) if at < all.len() => {
                        let (ticket, source) = all[at];
                        pending.leave(&source, ticket);
                        model.0.retain(|it| it.0 != ticket);
                    }
                    Event::Greets(_) | Event::Leaves(_) => {}
                }
                prop_assert!(pending.open() <= total);
                prop_assert_eq!(pending.greeted.len(), model.count(|it| it.2));
                prop_assert_eq!(pending.silent.len(), model.count(|it| !it.2));
                prop_assert!(pending.silent.is_consistent() && pending.greeted.is_consistent());
            }
        }
    }
}
