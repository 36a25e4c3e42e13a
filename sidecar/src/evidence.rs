//! What this node shows to prove which node it is.
//!
//! Its own certificate comes first, in the TLS handshake with the control plane: [`node_svid`]. Where that
//! proves nothing the node is attested, by the method that the configuration names. A method is a file
//! beside this one and a row of [`METHODS`]: how it is configured, and what it shows.

mod join_token;
pub(crate) mod node_svid;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use countersign_cli::{Key, Reader};
use countersign_proto::mesh::attest_node_request;
use countersign_serve::secret_file::SecretFileError;
use zeroize::Zeroizing;

pub(crate) use join_token::JoinToken;

const METHOD: Key = Key::new(
    "attestation.method",
    "How this machine proves which node it is, where its own certificate does not.",
);

/// `attestation.method`, and how the settings of each are read.
const METHODS: &[(&str, Read)] = &[("join_token", JoinToken::read)];

type Read = fn(&mut Reader) -> Option<Arc<dyn Method>>;

/// One way to attest this node.
pub(crate) trait Method: fmt::Debug + Send + Sync {
    /// What it shows, in words.
    fn name(&self) -> &'static str;

    /// What an operator does where the control plane wants other evidence.
    fn remedy(&self) -> &'static str;

    /// What is shown in one attestation, gathered anew for each.
    ///
    /// # Errors
    /// There is nothing to show.
    fn gather(&self) -> Result<Evidence, EvidenceError>;
}

/// What is shown in one attestation.
pub(crate) struct Evidence {
    /// What the control plane is told.
    pub(crate) message: attest_node_request::Evidence,
    /// The node's key is made for this: with another evidence a fresh one is made.
    pub(crate) bound_to: Zeroizing<String>,
}

/// There is nothing to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EvidenceError {
    /// There is no usable token.
    #[error("the token file {} cannot be used: it {source}", .path.display())]
    Token {
        /// The token file.
        path: PathBuf,
        /// What is wrong with it.
        source: SecretFileError,
    },
}

/// Reads `[attestation]`.
pub(crate) fn read(reader: &mut Reader) -> Option<Arc<dyn Method>> {
    let names: Vec<_> = METHODS
        .iter()
        .map(|(name, _)| format!("{name:?}"))
        .collect();
    let remedy = format!("write {}", names.join(" or "));
    let method = reader.required_choice(&METHOD, METHODS, &remedy);
    match method {
        Some(read) => read(reader),
        // Whatever its settings are, they are read: one mistake is no other.
        None => {
            METHODS.iter().for_each(|(_, read)| drop(read(reader)));
            None
        }
    }
}
