//! The subscriptions of one stream to one type, and which of them are to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::resource::ENVELOPE_BYTES;
use crate::subscription::{Before, Due, Offer, Subscription};
use crate::{Resource, Standing, View};

/// Every name of a type (delta dialect).
pub(crate) const WILDCARD: &str = "*";

/// One type on one stream.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    pub(crate) wildcard: bool,
    /// Read and changed by name; added and removed by [`put`](Self::put) and its like, which count.
    pub(crate) names: BTreeMap<Arc<str>, Subscription>,
    /// How many of them the consumer brought up, and what they all weigh: kept, not counted again
    /// with each message.
    asked: usize,
    bytes: usize,
    /// Names whose standing may differ from what was told.
    dirty: BTreeSet<Arc<str>>,
    /// Names that were given up while something was under way: the consumer may install it after
    /// all, if it asks again. Never more than the unanswered responses hold.
    departed: BTreeMap<Arc<str>, u64>,
}

/// How a dialect fills a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filling {
    /// Most resources in one response.
    pub(crate) resources: usize,
    /// Whether a response may follow another of its type before that is answered.
    pub(crate) pipelined: bool,
    /// Whether the dialect can say that a name was removed.
    pub(crate) removals: bool,
}

/// What one response is made of.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) resources: Vec<Resource>,
    pub(crate) removed: Vec<Arc<str>>,
    bytes: usize,
}

impl Topic {
    /// How many names the consumer brought up: asked for one by one, or held when it asked for all.
    pub(crate) fn asked(&self) -> usize {
        self.asked + usize::from(self.wildcard)
    }

    /// What the names weigh in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the consumer brought this name up.
    pub(crate) fn is_asked(&self, name: &str) -> bool {
        let state = self.names.get(name);
        state.is_some_and(Subscription::is_asked) || (name == WILDCARD && self.wildcard)
    }

    /// Whether a name still counts as brought up once the consumer has given it up. Who asks for all
    /// may have it all the same; what it was told of is ours, and what it never will be is forgotten.
    pub(crate) fn counts_on(&self, name: &str) -> bool {
        let is_open = |state: &Subscription| !state.is_blank() || self.dirty.contains(name);
        let state = self.names.get(name).filter(|_| self.wildcard);
        state.is_some_and(|state| state.claimed || (!state.told && is_open(state)))
    }

    /// Whether anything waits to be looked at.
    pub(crate) fn is_touched(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn put(&mut self, name: Arc<str>, state: Subscription) {
        self.asked += usize::from(state.is_asked());
        self.bytes += name_bytes(&name);
        if let Some((name, old)) = self.names.remove_entry(&name) {
            self.asked -= usize::from(old.is_asked());
            self.bytes -= name_bytes(&name);
        }
        self.names.insert(name, state);
    }

    fn take(&mut self, name: &str) -> Option<(Arc<str>, Subscription)> {
        let (name, state) = self.names.remove_entry(name)?;
        self.asked -= usize::from(state.is_asked());
        self.bytes -= name_bytes(&name);
        Some((name, state))
    }

    /// The consumer asked for all, and says that it holds this one.
    pub(crate) fn hold(&mut self, name: &str, version: &str) -> bool {
        let mut state = match self.names.get(name) {
            Some(state) if state.named => return false,
            Some(_) => self.take(name).map(|(_, state)| state).unwrap_or_default(),
            None => Subscription::default(),
        };
        state.hold(version);
        self.put(name.into(), state);
        true
    }

    /// Looks at this name at the next poll, if anybody asked for it.
    pub(crate) fn touch(&mut self, name: &str) {
        if let Some((name, _)) = self.names.get_key_value(name) {
            self.dirty.insert(name.clone());
        } else if self.wildcard {
            self.dirty.insert(name.into());
        }
    }

    /// Looks at every name at the next poll.
    pub(crate) fn touch_all(&mut self, type_url: &str, view: &impl View) {
        self.dirty.extend(self.names.keys().cloned());
        if self.wildcard {
            self.dirty.extend(view.names(type_url));
        }
    }

    /// Starts a name afresh: whoever asks again may have forgotten what it had.
    pub(crate) fn subscribe(&mut self, name: &str, last_nonce: u64, held: Option<&str>) {
        let before = self.before(name).filter(|_| held.is_none());
        let mut state = Subscription::begin(last_nonce, held, before);
        state.named = true;
        state.claimed = held.is_some();
        let name: Arc<str> = name.into();
        self.put(name.clone(), state);
        self.dirty.insert(name);
    }

    /// How many names are remembered, whatever for.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        let names = self.names.keys().chain(&self.dirty);
        let names: BTreeSet<_> = names.chain(self.departed.keys()).collect();
        names.len()
    }

    #[cfg(test)]
    pub(crate) fn invariant_counters(&self) {
        let asked = self.names.values().filter(|state| state.is_asked());
        assert_eq!(self.asked, asked.count());
        let bytes: usize = self.names.keys().map(|name| name_bytes(name)).sum();
        assert_eq!(self.bytes, bytes);
        for (name, state) in &self.names {
            let is_ours = state.told || self.dirty.contains(name);
            assert!(state.is_asked() || (self.wildcard && is_ours), "{name}");
        }
        let is_there = |name: &Arc<str>| self.wildcard || self.names.contains_key(name);
        assert!(self.dirty.iter().all(is_there));
    }

    /// What a consumer that asks for this name may have of it.
    fn before(&mut self, name: &str) -> Option<Before> {
        let departed = self.departed.remove(name).map(Before::UnderWay);
        departed.or(self.names.get(name).and_then(Subscription::before))
    }

    /// Drops a name; whether it was asked for.
    pub(crate) fn unsubscribe(&mut self, name: &str) -> bool {
        let counts_on = self.counts_on(name);
        let Some((name, mut state)) = self.take(name) else {
            return false;
        };
        let named = std::mem::take(&mut state.named);
        state.claimed = counts_on;
        if self.wildcard && (counts_on || state.told) {
            self.put(name, state);
        } else {
            self.dirty.remove(&name);
            self.departed.extend(under_way((name, state)));
        }
        named
    }

    /// Drops the wildcard and what only it had asked for.
    pub(crate) fn unsubscribe_all(&mut self) -> bool {
        let everything = std::mem::take(&mut self.names);
        (self.asked, self.bytes) = (0, 0);
        for (name, state) in everything {
            if state.named {
                self.put(name, state);
            } else {
                self.departed.extend(under_way((name, state)));
            }
        }
        self.dirty.retain(|name| self.names.contains_key(name));
        std::mem::take(&mut self.wildcard)
    }

    /// Response `nonce`, which had this name in it, was answered.
    pub(crate) fn answered(&mut self, name: &str, nonce: u64) {
        if self
            .departed
            .get(name)
            .is_some_and(|newest| *newest <= nonce)
        {
            self.departed.remove(name);
        }
    }

    /// Takes out of the dirty names what is due, as much as fits one response, and notes it as
    /// sent in response `nonce`.
    pub(crate) fn next_batch(
        &mut self,
        type_url: &str,
        nonce: u64,
        filling: Filling,
        view: &impl View,
    ) -> Batch {
        let mut batch = Batch::default();
        while let Some(name) = self.dirty.pop_first() {
            let Some((due, alone)) = self.look(type_url, &name, filling, view) else {
                continue;
            };
            if !batch.is_empty() && (alone || !batch.has_room_for(&due, filling)) {
                self.dirty.insert(name);
                break;
            }
            if let Some(state) = self.names.get_mut(&name) {
                state.send(nonce, due.offer());
            }
            batch.push(name, due);
            if alone {
                break;
            }
        }
        batch
    }

    /// What is due for one name, and whether it must travel alone. A name that nobody asked for by
    /// itself is remembered once something is due for it.
    fn look(
        &mut self,
        type_url: &str,
        name: &Arc<str>,
        filling: Filling,
        view: &impl View,
    ) -> Option<(Due, bool)> {
        let standing = view.standing(type_url, name);
        if self.wildcard && !self.names.contains_key(name) && standing != Standing::Absent {
            let before = self.before(name);
            let mut state = Subscription::begin(0, None, before);
            let due = state.due(standing)?;
            self.put(name.clone(), state);
            return is_sayable(&due, filling).then_some((due, false));
        }
        let state = self.names.get_mut(name)?;
        let due = state.due(standing)?;
        is_sayable(&due, filling).then_some((due, state.alone))
    }
}

fn is_sayable(due: &Due, filling: Filling) -> bool {
    filling.removals || !matches!(due, Due::Removal)
}

/// What a name with its state weighs in memory: itself, its versions, its places in the maps.
pub(crate) fn name_bytes(name: &str) -> usize {
    name.len() + NAME_STATE_BYTES
}

fn under_way((name, state): (Arc<str>, Subscription)) -> Option<(Arc<str>, u64)> {
    match state.before()? {
        Before::UnderWay(nonce) => Some((name, nonce)),
        Before::Installed => None,
    }
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.removed.is_empty()
    }

    fn len(&self) -> usize {
        self.resources.len() + self.removed.len()
    }

    /// What this batch tells the consumer, name by name.
    pub(crate) fn offers(&self) -> Vec<(Arc<str>, Offer)> {
        let versions = self.resources.iter();
        versions
            .map(|r| (r.name.clone(), Offer::Version(r.version.clone())))
            .chain(self.removed.iter().map(|n| (n.clone(), Offer::Removal)))
            .collect()
    }

    fn has_room_for(&self, due: &Due, filling: Filling) -> bool {
        self.len() < filling.resources && self.bytes + weight(due) <= MAX_RESPONSE_BYTES
    }

    fn push(&mut self, name: Arc<str>, due: Due) {
        self.bytes += weight(&due);
        match due {
            Due::Resource(resource) => self.resources.push(resource),
            Due::Removal => self.removed.push(name),
        }
    }
}

fn weight(due: &Due) -> usize {
    match due {
        Due::Resource(resource) => resource.weight(),
        Due::Removal => ENVELOPE_BYTES,
    }
}

/// What the state of a name takes beside its text, as counted by the allocator.
const NAME_STATE_BYTES: usize = 512;
/// Most bytes of resources in one response, well under gRPC's usual 4 MiB. A single resource
/// beyond it travels alone.
pub(crate) const MAX_RESPONSE_BYTES: usize = 1 << 20;
