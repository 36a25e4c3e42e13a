//! The delta client: what a consumer holds, asks for and acknowledges.
//!
//! It outlives its streams. After a reconnect [`DeltaClient::reconnect`] says again what is wanted
//! and what is held, so that a server with equal content sends nothing.

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
pub struct DeltaClient {}

impl DeltaClient {
    /// A client that wants nothing yet.
    pub fn new() -> Self {
        Self {}
    }

    /// Says that a resource is already held (restored from disk) at `version`.
    pub fn hold(&mut self, type_url: &str, name: &str, version: &str) {
        let _ = (type_url, name, version);
    }

    /// Wants a name (`*` for all of a type); `None` if it was wanted already.
    pub fn subscribe(&mut self, type_url: &str, name: &str) -> Option<DeltaRequest> {
        let _ = (type_url, name);
        None
    }

    /// Gives a name up; `None` if it was not wanted.
    pub fn unsubscribe(&mut self, type_url: &str, name: &str) -> Option<DeltaRequest> {
        let _ = (type_url, name);
        None
    }

    /// The first requests of a new stream, one for each type.
    pub fn reconnect(&mut self) -> Vec<DeltaRequest> {
        Vec::new()
    }

    /// Takes a response in. Nothing counts as held before [`accept`](Self::accept).
    ///
    /// # Errors
    /// A response that must not be used; answer it with [`refuse`](Self::refuse).
    pub fn handle(&mut self, response: DeltaResponse) -> Result<Received, ClientError> {
        let _ = response;
        Err(ClientError::Malformed("not implemented"))
    }

    /// The changes are installed: remembers them as held and makes the ACK.
    pub fn accept(&mut self, received: &Received) -> DeltaRequest {
        DeltaRequest {
            type_url: received.type_url.clone(),
            ..DeltaRequest::default()
        }
    }

    /// The changes were not installed: makes the NACK.
    pub fn refuse(&mut self, type_url: &str, nonce: &str, nack: Nack) -> DeltaRequest {
        let _ = nack;
        DeltaRequest {
            type_url: type_url.to_owned(),
            response_nonce: nonce.to_owned(),
            ..DeltaRequest::default()
        }
    }

    /// The newest state that a server answered from.
    pub fn seen(&self) -> Stamp {
        Stamp::default()
    }
}
