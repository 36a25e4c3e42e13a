//! Entries, writes and preconditions.

use countersign_model::Seq;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Level, StoreError};

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Facts of the whole state: trust domain, epoch, log id, bundle sequence.
    Meta,
    /// A registration, by entitlement.
    Registration,
    /// A right that was taken away, by node and entitlement.
    Tombstone,
    /// A join token, by its hash.
    Token,
    /// A node that attested, by ID.
    Node,
    /// A CA certificate and its slot, by key id.
    Authority,
    /// Why no token attests a node, by its ID.
    Ban,
    /// For which root a consumer is not waited for, by its name.
    Waiver,
    /// A control plane that shares the database, by its name.
    Replica,
    /// What a control plane last said of itself, by its name.
    Heartbeat,
    /// A request to certify an issuing CA, by the replica that asks.
    CaRequest,
    /// Who of a node lacks the bundle of a prepared root, by the node's ID.
    Acknowledged,
    /// Where the stream of a node is, by the node's ID.
    Stream,
    /// What the next version brings.
    #[cfg(test)]
    Next,
    /// What the version after that brings.
    #[cfg(test)]
    AfterNext,
}

impl Kind {
    pub(super) const ALL: &[Self] = &[
        Self::Meta,
        Self::Registration,
        Self::Tombstone,
        Self::Token,
        Self::Node,
        Self::Authority,
        Self::Ban,
        Self::Waiver,
        Self::Replica,
        Self::Heartbeat,
        Self::CaRequest,
        Self::Acknowledged,
        Self::Stream,
        #[cfg(test)]
        Self::Next,
        #[cfg(test)]
        Self::AfterNext,
    ];

    /// The level that it came with: below it nobody writes one. A kind that is added has `Level::OWN`, whose number
    /// is raised by the first of them after a release (`tests/upgrade/RELEASED`).
    pub(super) fn since(self) -> Level {
        match self {
            Self::Meta
            | Self::Registration
            | Self::Tombstone
            | Self::Token
            | Self::Node
            | Self::Authority
            | Self::Ban
            | Self::Waiver
            | Self::Replica
            | Self::Heartbeat
            | Self::CaRequest
            | Self::Acknowledged => Level::FIRST,
            Self::Stream => Level(3),
            #[cfg(test)]
            Self::Next => Level(Level::OWN.0 + 1),
            #[cfg(test)]
            Self::AfterNext => Level(Level::OWN.0 + 2),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Registration => "registration",
            Self::Tombstone => "tombstone",
            Self::Token => "token",
            Self::Node => "node",
            Self::Authority => "authority",
            Self::Ban => "ban",
            Self::Waiver => "waiver",
            Self::Replica => "replica",
            Self::Heartbeat => "heartbeat",
            Self::CaRequest => "ca_request",
            Self::Acknowledged => "acknowledged",
            Self::Stream => "stream",
            #[cfg(test)]
            Self::Next => "next",
            #[cfg(test)]
            Self::AfterNext => "after_next",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let known = Self::ALL.iter().copied().find(|kind| kind.as_str() == text);
        known.ok_or(StoreError::Damaged { what: "kind" })
    }
}

/// A value, as it stands.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its key among those of its kind.
    pub key: String,
    /// The commit that wrote it.
    pub seq: Seq,
    pub(super) value: String,
}

fn decode<T: DeserializeOwned>(kind: Kind, value: &str) -> Result<T, StoreError> {
    let what = kind.as_str();
    serde_json::from_str(value).map_err(|_| StoreError::Damaged { what })
}

impl Entry {
    /// The value, read as `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        decode(self.kind, &self.value)
    }

    /// The write that made it what it is.
    pub fn into_write(self) -> Write {
        Write {
            kind: self.kind,
            key: self.key,
            value: Some(self.value),
        }
    }
}

/// One value that a commit writes or removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What is changed.
    pub kind: Kind,
    /// Its key among those of its kind.
    pub key: String,
    /// JSON; `None` removes the entry.
    pub value: Option<String>,
}

impl Write {
    /// Writes `value` under `key`.
    pub fn put(kind: Kind, key: impl Into<String>, value: &impl Serialize) -> Self {
        let value = serde_json::to_string(value).expect("our records are plain JSON");
        Self {
            kind,
            key: key.into(),
            value: Some(value),
        }
    }

    /// Removes `key`.
    pub fn remove(kind: Kind, key: impl Into<String>) -> Self {
        Self {
            kind,
            key: key.into(),
            value: None,
        }
    }

    /// The value that is written, read as `T`; `None` where the entry is removed.
    ///
    /// # Errors
    /// It is none that this program writes.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, StoreError> {
        let value = self.value.as_deref();
        value.map(|value| decode(self.kind, value)).transpose()
    }

    /// Why this write does not read.
    pub fn damaged(&self) -> StoreError {
        let what = self.kind.as_str();
        StoreError::Damaged { what }
    }
}

/// What must hold for a commit to happen: compare-and-set for what may happen once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is no such entry.
    Absent(Kind, String),
    /// The entry is there and was last written by this commit.
    Unchanged(Kind, String, Seq),
}
