//! The delta client: what a consumer holds, asks for and acknowledges.
//!
//! It outlives its streams. After a reconnect [`DeltaClient::reconnect`] says again what is wanted
//! and what is held, so that a server with equal content sends nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::topic::WILDCARD;
use crate::{DeltaRequest, DeltaResponse, Nack, Resource, Stamp};

/// A change that a response brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New or changed.
    Present(Resource),
    /// Taken away by a tombstone.
    Removed {
        /// Type URL of the resource.
        type_url: String,
        /// Its name.
        name: String,
    },
}

impl Change {
    /// The name that changed.
    pub fn name(&self) -> &str {
        match self {
            Self::Present(resource) => &resource.name,
            Self::Removed { name, .. } => name,
        }
    }
}

/// A response, to be installed and then accepted or refused by its nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Type URL of the changes.
    pub type_url: String,
    /// To be given to [`DeltaClient::accept`] or [`DeltaClient::refuse`].
    pub nonce: String,
    /// The state that the server answered from.
    pub stamp: Stamp,
    /// The changes, in the order they were sent.
    pub changes: Vec<Change>,
}

/// A response that is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server answers from an older state than this client has already seen.
    #[error("the server answered from {got}, older than {seen}")]
    Older {
        /// The newest state seen.
        seen: Stamp,
        /// The state of this response.
        got: Stamp,
    },
    /// No stamp, or a resource of another type.
    #[error("malformed response: {0}")]
    Malformed(&'static str),
}

/// The consumer's side of the delta dialect, over several types.
#[derive(Debug, Default)]
pub struct DeltaClient {
    types: BTreeMap<String, Wanted>,
    seen: Stamp,
}

/// What is wanted and held of one type.
#[derive(Debug, Default)]
struct Wanted {
    names: BTreeSet<String>,
    held: BTreeMap<String, String>,
}

impl DeltaClient {
    /// A client that wants nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that a resource is already held (restored from disk) at `version`. Call before
    /// [`subscribe`](Self::subscribe).
    pub fn hold(&mut self, type_url: &str, name: &str, version: &str) {
        let wanted = self.wanted(type_url);
        wanted.held.insert(name.to_owned(), version.to_owned());
    }

    /// Wants a name (`*` for all of a type); `None` if it was wanted already. The request is for
    /// an open stream; a new stream starts with [`reconnect`](Self::reconnect) instead.
    pub fn subscribe(&mut self, type_url: &str, name: &str) -> Option<DeltaRequest> {
        let wanted = self.wanted(type_url);
        wanted.names.insert(name.to_owned()).then(|| DeltaRequest {
            type_url: type_url.to_owned(),
            subscribe: vec![name.to_owned()],
            initial_versions: wanted.held_for(name),
            ..DeltaRequest::default()
        })
    }

    /// Gives a name up, and forgets what was held of it; `None` if it was not wanted.
    pub fn unsubscribe(&mut self, type_url: &str, name: &str) -> Option<DeltaRequest> {
        let wanted = self.types.get_mut(type_url)?;
        if !wanted.names.remove(name) {
            return None;
        }
        let Wanted { names, held } = wanted;
        held.retain(|held, _| names.contains(WILDCARD) || names.contains(held));
        Some(DeltaRequest {
            type_url: type_url.to_owned(),
            unsubscribe: vec![name.to_owned()],
            ..DeltaRequest::default()
        })
    }

    /// The first requests of a new stream, one for each type.
    pub fn reconnect(&mut self) -> Vec<DeltaRequest> {
        let wanted = self.types.iter().filter(|(_, w)| !w.names.is_empty());
        wanted
            .map(|(type_url, wanted)| DeltaRequest {
                type_url: type_url.clone(),
                subscribe: wanted.names.iter().cloned().collect(),
                initial_versions: wanted.held_of_wanted(),
                ..DeltaRequest::default()
            })
            .collect()
    }

    /// Whether a server that answers from this state can be used.
    ///
    /// # Errors
    /// It is older than what was seen.
    pub fn check(&self, got: Stamp) -> Result<(), ClientError> {
        let seen = self.seen;
        if got < seen {
            return Err(ClientError::Older { seen, got });
        }
        Ok(())
    }

    /// Takes a response in. Nothing counts as held before [`accept`](Self::accept). A change of
    /// a name that is not wanted (any more) is left out.
    ///
    /// # Errors
    /// A response that must not be used; answer it with [`refuse`](Self::refuse).
    pub fn handle(&mut self, response: DeltaResponse) -> Result<Received, ClientError> {
        let malformed = |_| ClientError::Malformed("system version is no stamp");
        let stamp: Stamp = response.system_version.parse().map_err(malformed)?;
        self.check(stamp)?;
        let type_url = response.type_url.as_str();
        if response.resources.iter().any(|r| &*r.type_url != type_url) {
            return Err(ClientError::Malformed("resource of another type"));
        }
        let mut changes = Vec::new();
        if let Some(wanted) = self.types.get(type_url) {
            let present = response.resources.into_iter().map(Change::Present);
            let removed = response.removed.into_iter().map(|name| Change::Removed {
                type_url: response.type_url.clone(),
                name,
            });
            changes.extend(present.chain(removed).filter(|c| wanted.covers(c.name())));
        }
        self.seen = stamp;
        Ok(Received {
            type_url: response.type_url,
            nonce: response.nonce,
            stamp,
            changes,
        })
    }

    /// The changes are installed: remembers them as held and makes the ACK. Accept in the order
    /// of arrival.
    pub fn accept(&mut self, received: &Received) -> DeltaRequest {
        if let Some(wanted) = self.types.get_mut(&received.type_url) {
            for change in &received.changes {
                wanted.install(change);
            }
        }
        DeltaRequest {
            type_url: received.type_url.clone(),
            response_nonce: received.nonce.clone(),
            ..DeltaRequest::default()
        }
    }

    /// The changes were not installed: makes the NACK. What was held stays held.
    pub fn refuse(&mut self, type_url: &str, nonce: &str, nack: Nack) -> DeltaRequest {
        DeltaRequest {
            type_url: type_url.to_owned(),
            response_nonce: nonce.to_owned(),
            nack: Some(nack),
            ..DeltaRequest::default()
        }
    }

    /// The newest state that a server answered from.
    pub fn seen(&self) -> Stamp {
        self.seen
    }

    /// The version of a name that is installed.
    pub fn held(&self, type_url: &str, name: &str) -> Option<&str> {
        let wanted = self.types.get(type_url)?;
        wanted.held.get(name).map(String::as_str)
    }

    fn wanted(&mut self, type_url: &str) -> &mut Wanted {
        self.types.entry(type_url.to_owned()).or_default()
    }
}

impl Wanted {
    fn covers(&self, name: &str) -> bool {
        self.names.contains(name) || self.names.contains(WILDCARD)
    }

    fn install(&mut self, change: &Change) {
        match change {
            Change::Present(resource) if self.covers(&resource.name) => {
                let version = resource.version.to_string();
                self.held.insert(resource.name.to_string(), version);
            }
            Change::Present(_) => {}
            Change::Removed { name, .. } => drop(self.held.remove(name)),
        }
    }

    fn held_for(&self, name: &str) -> BTreeMap<String, String> {
        match name {
            WILDCARD => self.held.clone(),
            name => self
                .held
                .get_key_value(name)
                .into_iter()
                .map(owned)
                .collect(),
        }
    }

    fn held_of_wanted(&self) -> BTreeMap<String, String> {
        let held = self.held.iter().filter(|(name, _)| self.covers(name));
        held.map(owned).collect()
    }
}

fn owned((name, version): (&String, &String)) -> (String, String) {
    (name.clone(), version.clone())
}

#[cfg(test)]
mod tests;
