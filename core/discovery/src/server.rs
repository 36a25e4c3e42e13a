//! The server core that the streaming dialects share: subscriptions by type, and the responses
//! that still wait for an answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::subscription::Offer;
use crate::topic::{Batch, Filling, Topic, WILDCARD, name_bytes};
use crate::{Limits, Nack, Outcome, SessionError, View};

/// One stream's state, whatever its dialect.
#[derive(Debug)]
pub(crate) struct Server {
    limits: Limits,
    topics: BTreeMap<String, Topic>,
    unanswered: VecDeque<Sent>,
    last_nonce: u64,
}

/// A response that the consumer has not answered.
#[derive(Debug)]
struct Sent {
    nonce: u64,
    type_url: String,
    offers: Vec<(Arc<str>, Offer)>,
}

/// A response before its dialect words it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) type_url: String,
    pub(crate) nonce: String,
    pub(crate) batch: Batch,
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            topics: BTreeMap::new(),
            unanswered: VecDeque::new(),
            last_nonce: 0,
        }
    }

    /// From now on other bounds hold.
    pub(crate) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether this stream has asked for anything of this type before.
    pub(crate) fn knows(&self, type_url: &str) -> bool {
        self.topics.contains_key(type_url)
    }

    /// The names of a type that were asked for one by one, without those in `kept`. Costs nothing
    /// where there are no others.
    pub(crate) fn named_beside(&self, type_url: &str, kept: &BTreeSet<&str>) -> Vec<Arc<str>> {
        let Some(topic) = self.topics.get(type_url) else {
            return Vec::new();
        };
        let there = kept.iter().filter(|name| self.is_named(type_url, name));
        if there.count() == topic.asked() {
            return Vec::new();
        }
        let named = topic.names.iter().filter(|(_, state)| state.named);
        let beside = named.filter(|(name, _)| !kept.contains(&***name));
        beside.map(|(name, _)| name.clone()).collect()
    }

    /// Whether a name was asked for by itself.
    pub(crate) fn is_named(&self, type_url: &str, name: &str) -> bool {
        let topic = self.topics.get(type_url);
        let state = topic.and_then(|topic| topic.names.get(name));
        state.is_some_and(|state| state.named)
    }

    /// The names of a type that were asked for one by one.
    pub(crate) fn named(&self, type_url: &str) -> impl Iterator<Item = &Arc<str>> {
        let topic = self.topics.get(type_url);
        let names = topic.into_iter().flat_map(|topic| &topic.names);
        names.filter_map(|(name, state)| state.named.then_some(name))
    }

    /// Whether a name was asked for, by itself or with all.
    pub(crate) fn wants(&self, type_url: &str, name: &str) -> bool {
        self.wants_all(type_url) || self.is_named(type_url, name)
    }

    /// Whether all names of a type were asked for.
    pub(crate) fn wants_all(&self, type_url: &str) -> bool {
        self.topics
            .get(type_url)
            .is_some_and(|topic| topic.wildcard)
    }

    /// What the names of this stream weigh in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.topics.values().map(Topic::bytes).sum()
    }

    /// Refuses a request before it has changed anything.
    pub(crate) fn admit(
        &self,
        type_url: &str,
        added: &BTreeSet<&str>,
        dropped: &BTreeSet<&str>,
        view: &impl View,
    ) -> Result<(), SessionError> {
        let limits = self.limits;
        if !view.serves(type_url) {
            return Err(SessionError::UnknownType);
        }
        if added.iter().any(|name| name.len() > limits.name_bytes) {
            let limit = limits.name_bytes;
            return Err(SessionError::NameTooLong { limit });
        }
        let (names, bytes, is_more) = self.size_after(type_url, added, dropped, view);
        if names > limits.names {
            let limit = limits.names;
            return Err(SessionError::TooManyNames { limit });
        }
        if is_more && bytes > limits.bytes {
            let limit = limits.bytes;
            return Err(SessionError::TooManyBytes { limit });
        }
        Ok(())
    }

    /// How many names the stream would have brought up, what its names would weigh, and whether any
    /// of them is new. The cost is that of what the request says.
    fn size_after(
        &self,
        type_url: &str,
        added: &BTreeSet<&str>,
        dropped: &BTreeSet<&str>,
        view: &impl View,
    ) -> (usize, usize, bool) {
        let topic = self.topics.get(type_url);
        let is_there = |name: &str| topic.is_some_and(|topic| topic.is_asked(name));
        let is_leaving = |name: &str| {
            let counts_on = topic.is_some_and(|topic| topic.counts_on(name));
            dropped.contains(name) && is_there(name) && !counts_on
        };
        let is_new = |name: &&&str| {
            let stays = is_there(name) && !is_leaving(name);
            !stays && (**name == WILDCARD || view.is_possible(type_url, name))
        };
        let size = |(names, bytes), name: &&str| (names + 1, bytes + name_bytes(name));
        let more = added.iter().filter(is_new).fold((0, 0), size);
        let less = dropped.iter().filter(|name| is_leaving(name));
        let less = less.fold((0, 0), size);
        let now: usize = self.topics.values().map(Topic::asked).sum();
        (
            now.saturating_sub(less.0) + more.0,
            self.bytes().saturating_sub(less.1) + more.1,
            more.0 > 0,
        )
    }

    /// Settles the response that `nonce` names. Any other nonce is stale and says nothing.
    pub(crate) fn answer(
        &mut self,
        type_url: &str,
        nonce: &str,
        nack: Option<&Nack>,
    ) -> Vec<Outcome> {
        let Some(nonce) = number(nonce) else {
            return Vec::new();
        };
        let is_answered = |sent: &Sent| sent.nonce == nonce && sent.type_url == type_url;
        let Some(at) = self.unanswered.iter().position(is_answered) else {
            return Vec::new();
        };
        let Some(sent) = self.unanswered.remove(at) else {
            return Vec::new();
        };
        match nack {
            None => self.accept(&sent),
            Some(nack) => vec![self.refuse(sent, nack)],
        }
    }

    fn accept(&mut self, sent: &Sent) -> Vec<Outcome> {
        let Some(topic) = self.topics.get_mut(&sent.type_url) else {
            return Vec::new();
        };
        let mut outcomes = Vec::new();
        for (name, offer) in &sent.offers {
            topic.answered(name, sent.nonce);
            let state = topic.names.get_mut(name);
            let news = state.is_some_and(|state| state.accept(sent.nonce, offer));
            if let (true, Offer::Version(version)) = (news, offer) {
                outcomes.push(acknowledged(&sent.type_url, name, version));
            }
        }
        outcomes
    }

    fn refuse(&mut self, sent: Sent, nack: &Nack) -> Outcome {
        let in_company = sent.offers.len() > 1;
        if let Some(topic) = self.topics.get_mut(&sent.type_url) {
            for (name, offer) in &sent.offers {
                topic.answered(name, sent.nonce);
                if let Some(state) = topic.names.get_mut(name) {
                    state.refuse(sent.nonce, offer, in_company);
                }
                topic.touch(name);
            }
        }
        Outcome::Refused {
            type_url: sent.type_url,
            names: sent.offers.iter().map(|(n, _)| n.to_string()).collect(),
            nack: nack.clone(),
        }
    }

    /// Adds a name, or starts it afresh; `held` is the version the consumer says it has.
    pub(crate) fn subscribe(
        &mut self,
        type_url: &str,
        name: &str,
        held: Option<&str>,
    ) -> Vec<Outcome> {
        let held = held.filter(|version| is_plausible(version));
        let last_nonce = self.last_nonce;
        self.topic(type_url).subscribe(name, last_nonce, held);
        let mut outcomes = vec![subscribed(type_url, name)];
        outcomes.extend(held.map(|version| acknowledged(type_url, name, version)));
        outcomes
    }

    /// Adds every name of a type, of which the consumer says that it has `held`.
    pub(crate) fn subscribe_all(
        &mut self,
        type_url: &str,
        held: &BTreeMap<String, String>,
        view: &impl View,
    ) -> Vec<Outcome> {
        let topic = self.topic(type_url);
        topic.wildcard = true;
        let mut outcomes = vec![subscribed(type_url, WILDCARD)];
        let held = held.iter().filter(|(_, version)| is_plausible(version));
        for (name, version) in held.filter(|(name, _)| view.is_possible(type_url, name)) {
            if topic.hold(name, version) {
                outcomes.push(acknowledged(type_url, name, version));
            }
        }
        topic.touch_all(type_url, view);
        outcomes
    }

    /// Drops a name or the wildcard.
    pub(crate) fn unsubscribe(&mut self, type_url: &str, name: &str) -> Option<Outcome> {
        let topic = self.topics.get_mut(type_url)?;
        let dropped = match name {
            WILDCARD => topic.unsubscribe_all(),
            name => topic.unsubscribe(name),
        };
        dropped.then(|| Outcome::Unsubscribed {
            type_url: type_url.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Remembers that a type was asked for.
    pub(crate) fn topic(&mut self, type_url: &str) -> &mut Topic {
        self.topics.entry(type_url.to_owned()).or_default()
    }

    /// Looks at one name at the next poll.
    pub(crate) fn touch(&mut self, type_url: &str, name: &str) {
        if let Some(topic) = self.topics.get_mut(type_url) {
            topic.touch(name);
        }
    }

    /// Whether a poll has something to look at, and may say it.
    pub(crate) fn is_touched(&self, filling: Filling) -> bool {
        let mut touched = self.topics.iter().filter(|(_, topic)| topic.is_touched());
        self.unanswered.len() < self.limits.unanswered
            && touched.any(|(type_url, _)| filling.pipelined || !self.awaits(type_url))
    }

    /// Whether a response of this type is unanswered.
    fn awaits(&self, type_url: &str) -> bool {
        self.unanswered.iter().any(|sent| sent.type_url == type_url)
    }

    /// The next response out of what was touched, else out of everything.
    pub(crate) fn poll(&mut self, filling: Filling, view: &impl View) -> Option<Response> {
        if self.unanswered.len() >= self.limits.unanswered {
            return None;
        }
        self.poll_touched(filling, view).or_else(|| {
            for (type_url, topic) in &mut self.topics {
                topic.touch_all(type_url, view);
            }
            self.poll_touched(filling, view)
        })
    }

    /// The next response out of what was touched.
    pub(crate) fn poll_touched(&mut self, filling: Filling, view: &impl View) -> Option<Response> {
        if self.unanswered.len() >= self.limits.unanswered {
            return None;
        }
        let nonce = self.last_nonce + 1;
        let unanswered = &self.unanswered;
        let (type_url, batch) = self.topics.iter_mut().find_map(|(type_url, topic)| {
            if !filling.pipelined && unanswered.iter().any(|sent| sent.type_url == *type_url) {
                return None;
            }
            let batch = topic.next_batch(type_url, nonce, filling, view);
            (!batch.is_empty()).then(|| (type_url.clone(), batch))
        })?;
        self.last_nonce = nonce;
        self.unanswered.push_back(Sent {
            nonce,
            type_url: type_url.clone(),
            offers: batch.offers(),
        });
        Some(Response {
            type_url,
            nonce: nonce.to_string(),
            batch,
        })
    }

    /// What is counted on the way is what there is.
    #[cfg(test)]
    pub(crate) fn invariant_counters(&self) {
        self.topics.values().for_each(Topic::invariant_counters);
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.topics.values().map(Topic::remembered).sum()
    }

    /// The version of a name that the consumer proved to hold.
    pub(crate) fn acknowledged(&self, type_url: &str, name: &str) -> Option<&str> {
        let state = self.topics.get(type_url)?.names.get(name)?;
        state.held().map(AsRef::as_ref)
    }
}

/// A nonce as we write it.
fn number(nonce: &str) -> Option<u64> {
    let number: u64 = nonce.parse().ok()?;
    (number.to_string() == nonce).then_some(number)
}

/// A version that cannot be one of ours proves nothing, and is not worth its memory.
fn is_plausible(version: &str) -> bool {
    (1..=MAX_VERSION_BYTES).contains(&version.len())
}

fn subscribed(type_url: &str, name: &str) -> Outcome {
    Outcome::Subscribed {
        type_url: type_url.to_owned(),
        name: name.to_owned(),
    }
}

fn acknowledged(type_url: &str, name: &str, version: &str) -> Outcome {
    Outcome::Acknowledged {
        type_url: type_url.to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

/// Longest version that is believed. Ours are hashes and serials of 32 hex digits.
const MAX_VERSION_BYTES: usize = 128;
