//! Which sidecars a control plane wishes to go to another one, so that streams are spread over all of them: a
//! pure decision over how many streams each has, and `now`.
//!
//! Who has clearly more than its share gives to those that lack something, at once only a part of what each
//! lacks: rows are some seconds old, and another may give at the same time. So nobody is ever given so much that
//! it would have to give back, and what is spread stays so. What does not come true is no reason to wish for
//! more: a control plane that sidecars cannot reach is left alone after a few.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_model::SpiffeId;
use tokio::time::Instant;

/// Most wishes a second: a handshake each at the other control plane, which has other things to do.
pub const WISHES_PER_SECOND: usize = 32;
/// A wish comes true in this time, and the rows of all tell of it, or it is not counted any more.
pub const COMES_TRUE_WITHIN: Duration = Duration::from_secs(15);
/// No sidecar is asked again within this time.
pub const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(600);
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
    last: Option<Instant>,
}

#[derive(Debug)]
struct Asked {
    at: Instant,
    address: String,
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
        self.asked
            .retain(|_, asked| now - asked.at < ASKED_AGAIN_AFTER);
        let moves = self.moves(streams, &here, others, now);
        if moves.iter().all(|moves| *moves == 0) {
            return Vec::new();
        }
        let mut targets = in_turn(moves, others);
        let candidates = may_be_asked().into_iter();
        let mut candidates = candidates.filter(|node| !self.asked.contains_key(node));
        let mut wishes = Vec::new();
        while wishes.len() < WISHES_PER_SECOND
            && let Some(address) = targets.next()
            && let Some(node) = candidates.next()
        {
            let address = address.to_owned();
            wishes.push(Wish { node, address });
        }
        for Wish { node, address } in &wishes {
            let (at, address) = (now, address.clone());
            self.asked.insert(node.clone(), Asked { at, address });
        }
        wishes
    }

    /// How many streams should go to each of the others.
    fn moves(
        &self,
        streams: u64,
        here: &impl Fn(&SpiffeId) -> bool,
        others: &[Other],
        now: Instant,
    ) -> Vec<u64> {
        let is_fresh = |asked: &Asked| now - asked.at < COMES_TRUE_WITHIN;
        let theirs: Vec<_> = others
            .iter()
            .map(|other| other.streams.min(MOST_STREAMS))
            .collect();
        let leaving = self.asked.iter();
        let leaving = leaving.filter(|(node, asked)| is_fresh(asked) && here(node));
        let mut moves = moves(streams, leaving.count() as u64, &theirs);
        for (moves, other) in moves.iter_mut().zip(others) {
            let to = { self.asked.iter() }.filter(|(_, asked)| asked.address == other.address);
            let (under_way, before): (Vec<_>, Vec<_>) = to.partition(|(_, asked)| is_fresh(asked));
            let in_vain = before.iter().filter(|(node, _)| here(node));
            *moves = match in_vain.count() {
                MOST_IN_VAIN.. => 0,
                _ => moves.saturating_sub(under_way.len() as u64),
            };
        }
        moves
    }
}

/// How many streams may be under way from one control plane to each of the others: nobody has less than its
/// share for having given, and what all have under way to one is a part of what it lacks.
fn moves(own: u64, leaving: u64, others: &[u64]) -> Vec<u64> {
    let nothing = vec![0; others.len()];
    let all = own + others.iter().sum::<u64>();
    let count = others.len() as u64 + 1;
    let (least, share) = (all / count, all.div_ceil(count));
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

/// The addresses that streams should go to, one after the other.
fn in_turn(mut moves: Vec<u64>, others: &[Other]) -> impl Iterator<Item = &str> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let count = others.len();
        let at = (0..count)
            .map(|step| (next + step) % count)
            .find(|at| moves[*at] > 0)?;
        moves[at] -= 1;
        next = at + 1;
        Some(others[at].address.as_str())
    })
}

#[cfg(test)]
mod tests;
