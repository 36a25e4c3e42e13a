//! Which sidecars a control plane wishes to go to another one, so that streams are spread over all of them: a
//! pure decision over how many streams each has, and `now`.
//!
//! Who has clearly more than its share gives to those that lack something, at once only a part of what each
//! lacks: rows are some seconds old, and another may give at the same time. So nobody is ever given so much that
//! it would have to give back, and what is spread stays so. What does not come true is no reason to wish for
//! more: a control plane that sidecars cannot reach is left alone after a few.
//!
//! A count is the word of another one, which may be broken or not ours any more. It has at least the streams that
//! went there from here, whatever it says, so that nobody draws more than its share in an hour; and one whose
//! count does not grow by what is sent there is sent few (`balance/trial`).

mod trial;

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_model::SpiffeId;
use tokio::time::Instant;
use trial::Trial;

/// Most wishes a second: a handshake each at the other control plane, which has other things to do.
pub const WISHES_PER_SECOND: usize = 32;
/// A wish comes true in this time, and the rows of all tell of it, or it is not counted any more.
pub const COMES_TRUE_WITHIN: Duration = Duration::from_secs(15);
/// No sidecar is asked again within this time.
pub const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// So long it is remembered who went where: a control plane that has not the streams that were sent to it is
/// given its share once in this time. At [`WISHES_PER_SECOND`] that is at most 115 200 nodes.
pub const REMEMBERED: Duration = Duration::from_secs(3_600);
/// After so many wishes for one control plane that did not come true there are no more for a while.
pub const MOST_IN_VAIN: usize = 32;
/// A share is exceeded clearly by more than this part of it, and by more than chance makes it.
const TOLERATED: u64 = 10;
/// What another says of itself counts as no more than it can have.
const MOST_STREAMS: u64 = crate::MAX_NODES as u64;
/// All that give have at once only this part under way of what a control plane lacks.
const UNDER_WAY: u64 = 4;

/// Another control plane that is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name, which stays where it says another address.
    pub name: String,
    /// Where sidecars reach it.
    pub address: String,
    /// How many streams it has, as it last said.
    pub streams: u64,
}

/// That a sidecar goes to another control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whose.
    pub node: SpiffeId,
    /// Where to.
    pub address: String,
}

/// The wishes of one control plane.
#[derive(Debug, Default)]
pub struct Balance {
    asked: BTreeMap<SpiffeId, Asked>,
    trials: BTreeMap<String, Trial>,
    last: Option<Instant>,
}

#[derive(Debug)]
struct Asked {
    at: Instant,
    /// The name of the control plane.
    to: String,
}

/// What became of the wishes for one control plane.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// They may not have come true yet, or not be counted there.
    under_way: u64,
    /// They should have, and did not.
    in_vain: usize,
    /// They are not here any more.
    gone: u64,
    /// And were asked in the trial that goes on.
    gone_of_trial: u64,
}

impl Balance {
    /// What is wished now: at most [`WISHES_PER_SECOND`], once a second. `may_be_asked` gives the nodes of the
    /// `streams` that are open here, who is asked first before the others; it is called only where somebody is
    /// asked.
    pub fn wishes(
        &mut self,
        streams: u64,
        here: impl Fn(&SpiffeId) -> bool,
        may_be_asked: impl FnOnce() -> Vec<SpiffeId>,
        others: &[Other],
        now: Instant,
    ) -> Vec<Wish> {
        let is_soon = { self.last }.is_some_and(|last| now - last < Duration::from_secs(1));
        if is_soon {
            return Vec::new();
        }
        self.last = Some(now);
        self.asked.retain(|_, asked| now - asked.at < REMEMBERED);
        self.trials.retain(|_, trial| !trial.is_forgotten(now));
        let said = others.iter().map(|other| other.streams.min(MOST_STREAMS));
        let said: Vec<_> = said.collect();
        // What more is known of them only makes the share larger.
        if streams <= tolerated(share(streams, &said)) {
            return Vec::new();
        }
        let moves = self.moves(streams, &here, (others, &said), now);
        if moves.iter().all(|moves| *moves == 0) {
            return Vec::new();
        }
        let is_free = |node: &SpiffeId| {
            let asked = self.asked.get(node);
            asked.is_none_or(|asked| now - asked.at >= ASKED_AGAIN_AFTER)
        };
        let candidates = may_be_asked().into_iter().filter(is_free);
        let wishes = candidates.zip(in_turn(moves, others));
        let wishes: Vec<_> = wishes.take(WISHES_PER_SECOND).collect();
        let noted = wishes.into_iter().map(|(node, other)| {
            let (at, to) = (now, other.name.clone());
            self.asked.insert(node.clone(), Asked { at, to });
            if let Some(trial) = self.trials.get_mut(&other.name) {
                trial.asked(now);
            }
            let address = other.address.clone();
            Wish { node, address }
        });
        noted.collect()
    }

    /// How many streams should go to each of the others.
    fn moves(
        &mut self,
        streams: u64,
        here: &impl Fn(&SpiffeId) -> bool,
        (others, said): (&[Other], &[u64]),
        now: Instant,
    ) -> Vec<u64> {
        let (leaving, sent) = self.sent(here, others, now);
        let has = said.iter().zip(&sent);
        let has: Vec<_> = has.map(|(said, sent)| sent.gone.max(*said)).collect();
        let mut moves = moves(streams, leaving, &has);
        for (at, other) in others.iter().enumerate() {
            let (said, sent) = (said[at], sent[at]);
            let trial = self.trials.entry(other.name.clone());
            let trial = trial.or_insert_with(|| Trial::begin(said, now));
            trial.judge(said, sent.gone_of_trial, now);
            moves[at] = match sent.in_vain {
                MOST_IN_VAIN.. => 0,
                _ => moves[at].saturating_sub(sent.under_way).min(trial.room()),
            };
        }
        moves
    }

    /// How many that are here are about to leave, and what became of the wishes for each of the others.
    fn sent(
        &self,
        here: &impl Fn(&SpiffeId) -> bool,
        others: &[Other],
        now: Instant,
    ) -> (u64, Vec<Sent>) {
        let (mut leaving, mut sent) = (0, vec![Sent::default(); others.len()]);
        let places = others.iter().enumerate();
        let places: BTreeMap<_, _> = places.map(|(at, it)| (it.name.as_str(), at)).collect();
        for (node, asked) in &self.asked {
            let age = now - asked.at;
            let (is_fresh, is_here) = (age < COMES_TRUE_WITHIN, here(node));
            leaving += u64::from(is_fresh && is_here);
            let Some(sent) = places.get(asked.to.as_str()).map(|at| &mut sent[*at]) else {
                continue;
            };
            sent.under_way += u64::from(is_fresh);
            sent.in_vain += usize::from(!is_fresh && is_here && age < ASKED_AGAIN_AFTER);
            sent.gone += u64::from(!is_here);
            let trial = self.trials.get(&asked.to);
            let is_of_trial = trial.is_some_and(|trial| trial.has(asked.at));
            sent.gone_of_trial += u64::from(!is_here && is_of_trial);
        }
        (leaving, sent)
    }
}

/// The share of each, rounded up.
fn share(own: u64, others: &[u64]) -> u64 {
    let all = own + others.iter().sum::<u64>();
    all.div_ceil(others.len() as u64 + 1)
}

/// How many streams may be under way from one control plane to each of the others: nobody has less than its
/// share for having given, and what all have under way to one is a part of what it lacks.
fn moves(own: u64, leaving: u64, others: &[u64]) -> Vec<u64> {
    let nothing = vec![0; others.len()];
    let all = own + others.iter().sum::<u64>();
    let count = others.len() as u64 + 1;
    let (least, share) = (all / count, share(own, others));
    if own.saturating_sub(leaving) <= tolerated(share) {
        return nothing;
    }
    let givers = 1 + others.iter().filter(|it| **it > share).count() as u64;
    let mut left = own.saturating_sub(leaving).saturating_sub(share);
    let part = |lacks: u64| {
        let part = lacks.div_ceil(UNDER_WAY * givers).min(left);
        left -= part;
        part
    };
    let lacks = others.iter().map(|it| least.saturating_sub(*it));
    lacks.map(part).collect()
}

/// The most that one may have and keep.
fn tolerated(share: u64) -> u64 {
    share + (share / TOLERATED).max(2 * share.isqrt())
}

/// Where streams should go, one after the other.
fn in_turn(mut moves: Vec<u64>, others: &[Other]) -> impl Iterator<Item = &Other> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let count = others.len();
        let at = (0..count)
            .map(|step| (next + step) % count)
            .find(|at| moves[*at] > 0)?;
        moves[at] -= 1;
        next = at + 1;
        Some(&others[at])
    })
}

#[cfg(test)]
mod tests;
