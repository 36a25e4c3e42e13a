//! One name on one stream: what the consumer holds, was sent and refused.
//!
//! The whole of the resend rules is [`Subscription::due`].

use std::sync::Arc;

use crate::{Resource, Standing};

/// What a response says about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// The resource at this version.
    Version(Arc<str>),
    /// The tombstone.
    Removal,
}

/// The state of one name.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    /// Asked for by name, and not by a wildcard alone.
    pub(crate) named: bool,
    /// Brought up by the consumer, which said that it holds this one, or gave it up although it asks
    /// for all.
    pub(crate) claimed: bool,
    /// Something of this name was sent since the subscription began: it is one of ours.
    pub(crate) told: bool,
    /// What the consumer proved to hold: acknowledged here, or named when it connected.
    held: Option<Arc<str>>,
    /// The newest unanswered offer and the response that carried it.
    sent: Option<(u64, Offer)>,
    /// What the consumer refused: not offered again while it stays the same.
    refused: Option<Offer>,
    /// The newest response that was answered, or that was sent before this subscription began:
    /// what it or an older one said no longer counts.
    settled: u64,
    /// The consumer may have more than it says, as it asked for the name before.
    before: Option<Before>,
    /// Was in a refused response together with others: offered once more, by itself.
    pub(crate) alone: bool,
}

/// What a consumer may have from before it asked for a name again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// What it had acknowledged, or was sent and has answered by now.
    Installed,
    /// What this unanswered response offers: it may still install that.
    UnderWay(u64),
}

/// What is to be sent.
#[derive(Debug)]
pub(crate) enum Due {
    /// This resource.
    Resource(Resource),
    /// The tombstone.
    Removal,
}

impl Due {
    pub(crate) fn offer(&self) -> Offer {
        match self {
            Self::Resource(resource) => Offer::Version(resource.version.clone()),
            Self::Removal => Offer::Removal,
        }
    }
}

impl Subscription {
    /// A subscription that begins after response `last_nonce`.
    pub(crate) fn begin(last_nonce: u64, held: Option<&str>, before: Option<Before>) -> Self {
        Self {
            held: held.map(Into::into),
            settled: last_nonce,
            before,
            ..Self::default()
        }
    }

    /// What the consumer may have of this name if it asks for it again.
    pub(crate) fn before(&self) -> Option<Before> {
        let sent = self
            .sent
            .as_ref()
            .map(|(nonce, _)| Before::UnderWay(*nonce));
        let held = self.held.is_some().then_some(Before::Installed);
        sent.or(self.before).or(held)
    }

    /// The version that the consumer proved to hold.
    pub(crate) fn held(&self) -> Option<&Arc<str>> {
        self.held.as_ref()
    }

    /// The consumer says that it holds this already.
    pub(crate) fn hold(&mut self, version: &str) {
        self.claimed = true;
        self.held = Some(version.into());
    }

    /// Whether the consumer brought this name up, and not the view alone.
    pub(crate) fn is_asked(&self) -> bool {
        self.named || self.claimed
    }

    /// Whether nothing is known of what the consumer has of this name.
    pub(crate) fn is_blank(&self) -> bool {
        self.before().is_none() && self.refused.is_none() && !self.alone
    }

    /// Whether `standing` is news to the consumer. Absence never is.
    pub(crate) fn due(&mut self, standing: Standing) -> Option<Due> {
        let due = match standing {
            Standing::Present(resource) => Due::Resource(resource),
            Standing::Removed => Due::Removal,
            Standing::Absent => return None,
        };
        let offer = due.offer();
        if self
            .refused
            .as_ref()
            .is_some_and(|refused| *refused != offer)
        {
            self.refused = None;
        }
        let news = self.refused.is_none() && (self.before.is_some() || self.told() != offer);
        news.then_some(due)
    }

    /// What the consumer has once it has installed everything that was sent. A consumer that was
    /// told nothing has nothing to remove.
    fn told(&self) -> Offer {
        match (&self.sent, &self.held) {
            (Some((_, offer)), _) => offer.clone(),
            (None, Some(version)) => Offer::Version(version.clone()),
            (None, None) => Offer::Removal,
        }
    }

    /// The offer left in response `nonce`.
    pub(crate) fn send(&mut self, nonce: u64, offer: Offer) {
        self.sent = Some((nonce, offer));
        self.before = None;
        self.told = true;
    }

    /// The consumer installed what response `nonce` offered; whether that is news.
    pub(crate) fn accept(&mut self, nonce: u64, offer: &Offer) -> bool {
        let news = self.settle(nonce);
        if news {
            self.alone = false;
            self.held = match offer {
                Offer::Version(version) => Some(version.clone()),
                Offer::Removal => None,
            };
        }
        news
    }

    /// The consumer refused response `nonce` and goes on with what it held. In company nobody
    /// knows which resource was bad, so each is offered once more by itself.
    pub(crate) fn refuse(&mut self, nonce: u64, offer: &Offer, in_company: bool) {
        if self.settle(nonce) {
            self.alone = in_company;
            self.refused = (!in_company).then(|| offer.clone());
        }
    }

    /// Whether an answer to response `nonce` is news.
    fn settle(&mut self, nonce: u64) -> bool {
        let news = nonce > self.settled;
        if news {
            self.settled = nonce;
        }
        if matches!(self.before, Some(Before::UnderWay(sent)) if sent <= nonce) {
            self.before = Some(Before::Installed);
        }
        if self.sent.as_ref().is_some_and(|(sent, _)| *sent <= nonce) {
            self.sent = None;
        }
        news
    }
}
