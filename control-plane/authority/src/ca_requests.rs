//! Requests of replicas to have their issuing CAs certified: as they are stored, and how they are
//! judged. Pure: who asks and who answers is in [`super::asking`] and [`super::answering`].

use std::collections::BTreeMap;

use countersign_ca::asking::Asked;
use countersign_ca::key::{CaKey, KeyError, StoreKind};
use countersign_issue::key::key_id;
use countersign_model::{Seq, TrustDomain};
use countersign_store::Write;
use countersign_verify::proof::ProofError;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a request counts, by the clock of whoever judges it. Its replica makes it anew when half of
/// that is over, so what is older is of one that is gone.
const COUNTS_FOR: SignedDuration = SignedDuration::from_hours(24);
/// A replica is given one certificate in this time, whatever it asks for.
pub(super) const ANSWERED_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Most requests that are remembered, one a replica.
const MAX_REQUESTS: usize = 64;

/// A request, as JSON in the store under the name of the replica that asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CaRequested {
    /// SubjectPublicKeyInfo, DER, hexadecimal.
    spki: String,
    /// Where that replica has the key.
    store: StoreKind,
    /// Key id of the CA that shall sign.
    parent: String,
    /// When it was asked, by the clock of that replica.
    at: Timestamp,
    /// Signature over all of it with the key, hexadecimal.
    proof: String,
}

/// Whose key is to be certified, once the request was judged.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) replica: String,
    pub(super) key_id: String,
    pub(super) spki: Vec<u8>,
    pub(super) store: StoreKind,
    /// The commit of its request.
    pub(super) asked: Seq,
}

/// A request that nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    /// It is none that this program writes.
    #[error("it does not read")]
    Unreadable,
    /// The replica did not show that it holds the key.
    #[error("the proof of its key is none: {0}")]
    NotProven(#[from] ProofError),
    /// The key is that of a CA already.
    #[error("the key is a CA's already")]
    KnownKey,
}

impl CaRequested {
    /// Asks for a certificate of a key that is here.
    pub(super) fn new(
        key: &dyn CaKey,
        store: StoreKind,
        (trust_domain, replica): (&TrustDomain, &str),
        parent: &str,
        at: Timestamp,
    ) -> Result<Self, KeyError> {
        let asked = Asked {
            trust_domain,
            replica,
            parent,
            spki: key.spki(),
            at,
        };
        Ok(Self {
            spki: hex::encode(key.spki()),
            store,
            parent: parent.to_owned(),
            at,
            proof: hex::encode(asked.prove(key)?),
        })
    }

    /// When it was asked.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// The public key and where its private one is.
    pub(super) fn key(&self) -> Option<(Vec<u8>, StoreKind)> {
        Some((hex::decode(&self.spki).ok()?, self.store))
    }

    /// Whether the one that asked may wait for the answer: it asks for what it wants now, and lately.
    pub(super) fn stands(&self, parent: &str, now: Timestamp) -> bool {
        self.parent == parent && now.duration_since(self.at).abs() < COUNTS_FOR / 2
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.at).abs() > COUNTS_FOR
    }

    fn judged(&self, rules: &impl Rules, replica: &str, asked: Seq) -> Result<Asker, BadRequest> {
        let bytes =
            |hexadecimal: &str| hex::decode(hexadecimal).map_err(|_| BadRequest::Unreadable);
        let (spki, proof) = (bytes(&self.spki)?, bytes(&self.proof)?);
        let text = Asked {
            trust_domain: rules.trust_domain(),
            replica,
            parent: &self.parent,
            spki: &spki,
            at: self.at,
        };
        text.check(&proof)?;
        let key_id = key_id(&spki);
        if rules.is_ca(&key_id) {
            return Err(BadRequest::KnownKey);
        }
        Ok(Asker {
            replica: replica.to_owned(),
            key_id,
            spki,
            store: self.store,
            asked,
        })
    }
}

/// What requests are judged by.
pub(super) trait Rules {
    /// Ours.
    fn trust_domain(&self) -> &TrustDomain;
    /// Key id of the CA that can sign here.
    fn parent(&self) -> &str;
    /// Whether a replica may have an issuing CA.
    fn may_join(&self, replica: &str) -> bool;
    /// Whether a key is a CA's.
    fn is_ca(&self, key_id: &str) -> bool;
}

/// What is to be done with a request of another replica.
#[derive(Debug)]
pub(super) enum Judged {
    /// Certify its key.
    Answer(Asker),
    /// Forget it: nobody answers it.
    Refuse(String, Seq, BadRequest),
    /// Forget it: its replica did not make it anew.
    Forget(String, Seq),
}

/// The requests of other replicas that wait, and whom an answer was made for lately.
#[derive(Debug, Default)]
pub(super) struct CaRequests {
    waiting: BTreeMap<String, (CaRequested, Seq)>,
    answered: BTreeMap<String, Timestamp>,
}

impl CaRequests {
    /// Takes what a commit wrote of a request. One that does not read is none: it is answered by nobody,
    /// and whoever asked asks again.
    pub(super) fn take(&mut self, write: &Write, seq: Seq) {
        match write.read::<CaRequested>() {
            Ok(Some(request)) => self.note(&write.key, request, seq),
            Ok(None) | Err(_) => self.forget(&write.key),
        }
    }

    /// Remembers a request.
    pub(super) fn note(&mut self, replica: &str, request: CaRequested, seq: Seq) {
        if self.waiting.len() < MAX_REQUESTS || self.waiting.contains_key(replica) {
            self.waiting.insert(replica.to_owned(), (request, seq));
        }
    }

    /// A request is no more.
    pub(super) fn forget(&mut self, replica: &str) {
        self.waiting.remove(replica);
    }

    /// What is to be done now by who can sign with the key of a parent.
    pub(super) fn due(&self, rules: &impl Rules, now: Timestamp) -> Vec<Judged> {
        let judged = self.waiting.iter().filter_map(|(replica, (request, seq))| {
            if request.is_over(now) {
                return Some(Judged::Forget(replica.clone(), *seq));
            }
            let is_for_us = request.parent == rules.parent() && rules.may_join(replica);
            if !is_for_us || self.was_answered(replica, now) {
                return None;
            }
            Some(match request.judged(rules, replica, *seq) {
                Ok(asker) => Judged::Answer(asker),
                Err(bad) => Judged::Refuse(replica.clone(), *seq, bad),
            })
        });
        judged.collect()
    }

    fn was_answered(&self, replica: &str, now: Timestamp) -> bool {
        let last = self.answered.get(replica);
        last.is_some_and(|last| now.duration_since(*last).abs() < ANSWERED_EVERY)
    }

    /// An answer is about to be made.
    pub(super) fn answers(&mut self, replica: &str, now: Timestamp) {
        let is_late = |last: &Timestamp| now.duration_since(*last).abs() < ANSWERED_EVERY;
        self.answered.retain(|_, last| is_late(last));
        self.answered.insert(replica.to_owned(), now);
    }
}

#[cfg(test)]
mod tests;
