//! A change of the state, and the one way in which the state takes it.
//!
//! What was written here, what a start or a restore finds in the store, and what somebody follows
//! of the commits of another come through [`State::apply`]: there is no second way to a state, so
//! the ways cannot part.

use countersign_attest::bans::Ban;
use countersign_attest::join_token::{KnownToken, Token, TokenHash};
use countersign_attest::nodes::StoredNode;
use countersign_fleet::streams::StreamRow;
use countersign_fleet::{Acknowledged, Event};
use countersign_model::{EntitlementId, Seq, SpiffeId};
use countersign_registry::{Kept, Tombstone, TombstoneKey};
use countersign_store::{Kind, StoreError, Write};

use super::{Heartbeat, Replica, State, Waiver};

/// One value of the state that a commit writes; `None` where it takes it away.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A registration, by the name of its entitlement.
    Registration(EntitlementId, Option<Box<Kept>>),
    /// A right that was taken away.
    Tombstone(TombstoneKey, Option<Tombstone>),
    /// A join token.
    Token(TokenHash, Option<Token>),
    /// A node that attested.
    Node(SpiffeId, Option<StoredNode>),
    /// Why no token attests a node.
    Ban(SpiffeId, Option<Ban>),
    /// For which root a consumer is not waited for.
    Waiver(String, Option<Waiver>),
    /// A control plane that shares the database, by its name.
    Replica(String, Option<Replica>),
    /// What one of them last said of itself.
    Heartbeat(String, Option<Heartbeat>),
    /// Who of a node lacks the bundle of a prepared root.
    Acknowledged(SpiffeId, Option<Acknowledged>),
    /// Where the stream of a node is.
    Stream(SpiffeId, Option<StreamRow>),
}

impl Change {
    /// A registration is added or updated.
    pub(crate) fn registered(kept: Kept) -> Self {
        let id = kept.registration.key.entitlement_id();
        Self::Registration(id, Some(Box::new(kept)))
    }

    /// A right is taken away; `None` for what is signed by hand, which nobody has to be told of.
    pub(crate) fn buried(tombstone: Tombstone) -> Option<Self> {
        Some(Self::Tombstone(tombstone.key()?, Some(tombstone)))
    }

    /// The change that a write is; `None` for what is no part of this state: facts of the whole, and
    /// CAs.
    ///
    /// # Errors
    /// It is none that this program writes.
    pub(crate) fn read(write: &Write) -> Result<Option<Self>, StoreError> {
        let key = &write.key;
        let node = || SpiffeId::with_path(key).map_err(|_| write.damaged());
        Ok(Some(match write.kind {
            Kind::Registration => {
                let id = EntitlementId::parse(key).ok_or_else(|| write.damaged())?;
                Self::Registration(id, write.read()?)
            }
            Kind::Tombstone => {
                let key = TombstoneKey::parse(key).ok_or_else(|| write.damaged())?;
                Self::Tombstone(key, write.read()?)
            }
            Kind::Token => Self::Token(TokenHash::stored(key.clone()), write.read()?),
            Kind::Node => Self::Node(node()?, write.read()?),
            Kind::Ban => Self::Ban(node()?, write.read()?),
            Kind::Waiver => Self::Waiver(key.clone(), write.read()?),
            Kind::Replica => Self::Replica(key.clone(), write.read()?),
            Kind::Heartbeat => Self::Heartbeat(key.clone(), write.read()?),
            Kind::Acknowledged => Self::Acknowledged(node()?, write.read()?),
            Kind::Stream => Self::Stream(node()?, write.read()?),
            Kind::Authority | Kind::CaRequest | Kind::Meta => return Ok(None),
        }))
    }

    /// The write that makes it durable.
    pub(crate) fn write(&self) -> Write {
        match self {
            Self::Registration(id, kept) => write(Kind::Registration, id.as_str(), kept.as_ref()),
            Self::Tombstone(key, tombstone) => {
                write(Kind::Tombstone, &key.to_string(), tombstone.as_ref())
            }
            Self::Token(hash, token) => write(Kind::Token, hash.as_str(), token.as_ref()),
            Self::Node(id, node) => write(Kind::Node, id.as_str(), node.as_ref()),
            Self::Ban(id, ban) => write(Kind::Ban, id.as_str(), ban.as_ref()),
            Self::Waiver(consumer, waiver) => write(Kind::Waiver, consumer, waiver.as_ref()),
            Self::Replica(name, replica) => write(Kind::Replica, name, replica.as_ref()),
            Self::Heartbeat(name, said) => write(Kind::Heartbeat, name, said.as_ref()),
            Self::Acknowledged(node, row) => write(Kind::Acknowledged, node.as_str(), row.as_ref()),
            Self::Stream(node, row) => write(Kind::Stream, node.as_str(), row.as_ref()),
        }
    }
}

fn write<T: serde::Serialize>(kind: Kind, key: &str, value: Option<&T>) -> Write {
    match value {
        Some(value) => Write::put(kind, key, value),
        None => Write::remove(kind, key),
    }
}

impl State {
    /// Takes the changes of a commit, and says whom they concern.
    pub(crate) fn apply_all(&mut self, seq: Seq, changes: Vec<Change>) -> Vec<Event> {
        let changes = changes.into_iter();
        changes
            .filter_map(|change| self.apply(seq, change))
            .collect()
    }

    /// Takes a change that a commit made durable, and says whom it concerns.
    pub(crate) fn apply(&mut self, seq: Seq, change: Change) -> Option<Event> {
        match change {
            Change::Registration(id, Some(kept)) => {
                let node = kept.registration.key.node().cloned();
                self.registry.insert(*kept);
                Some(Event::Entitlement(node?, id))
            }
            Change::Registration(id, None) => {
                let gone = self.registry.remove(&id)?;
                let node = gone.registration.key.node()?;
                self.published.remove(node, &id);
                Some(Event::Entitlement(node.clone(), id))
            }
            Change::Tombstone(key, tombstone) => {
                match tombstone {
                    Some(tombstone) => self.registry.tombstones.bury(key, tombstone.until),
                    None => self.registry.tombstones.forget(&key),
                }
                None
            }
            Change::Token(hash, token) => {
                match token {
                    Some(token) => self.tokens.insert(hash, KnownToken { token, seq }),
                    None => self.tokens.remove(&hash),
                }
                None
            }
            Change::Node(id, Some(node)) => Some(self.node_written(id, node, seq)),
            Change::Node(id, None) => {
                self.nodes.forget(&id, seq);
                None
            }
            Change::Ban(id, ban) => {
                match ban {
                    Some(ban) => self.bans.insert(id, ban),
                    None => self.bans.remove(&id),
                }
                None
            }
            Change::Waiver(consumer, waiver) => {
                match waiver {
                    Some(waiver) => self.waivers.insert(consumer, waiver),
                    None => self.waivers.remove(&consumer),
                }
                None
            }
            Change::Replica(name, replica) => {
                self.replicas.written(name, replica, seq);
                None
            }
            Change::Heartbeat(name, said) => {
                self.replicas.said(name, said, seq);
                None
            }
            Change::Acknowledged(node, row) => {
                self.acknowledged.written(node, row);
                None
            }
            Change::Stream(node, row) => {
                self.streams.written(node, row, seq);
                None
            }
        }
    }

    /// A node attested or was evicted. What was published for one that is out is shown to nobody.
    fn node_written(&mut self, id: SpiffeId, node: StoredNode, seq: Seq) -> Event {
        self.nodes.written(&id, node, seq);
        let newest = self.nodes.stored(&id);
        if newest.is_some_and(StoredNode::is_evicted) {
            self.published.withdraw(&id);
            return Event::Evicted(id);
        }
        Event::Entitlement(id, EntitlementId::node())
    }
}

#[cfg(test)]
mod tests;
