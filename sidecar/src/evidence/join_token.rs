//! A one-time token, which an operator put into a file: `method = "join_token"`.

use std::path::PathBuf;
use std::sync::Arc;

use countersign_cli::{Key, Reader};
use countersign_proto::mesh::{JoinTokenEvidence, attest_node_request};
use countersign_serve::secret_file::{self, SecretFileError};
use zeroize::Zeroizing;

use super::{Evidence, EvidenceError, Method};

const TOKEN_FILE: Key = Key::new(
    "attestation.token_file",
    "With `join_token`: a file, mode 0600, that holds the token. It is read anew at each attempt.",
);

/// Longest token file that is read, in bytes.
const MAX_TOKEN_FILE_BYTES: usize = 4_096;

/// The settings of this method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinToken {
    /// `token_file`; its text is trimmed.
    pub(crate) token_file: PathBuf,
}

impl JoinToken {
    pub(super) fn read(reader: &mut Reader) -> Option<Arc<dyn Method>> {
        let token_file = reader.path(&TOKEN_FILE, Some("token"))?;
        Some(Arc::new(Self { token_file }))
    }

    fn token(&self) -> Result<Zeroizing<String>, SecretFileError> {
        let text = secret_file::read(&self.token_file, MAX_TOKEN_FILE_BYTES)?;
        let token = Zeroizing::new(text.trim().to_owned());
        match token.is_empty() {
            true => Err(SecretFileError::Empty),
            false => Ok(token),
        }
    }
}

impl Method for JoinToken {
    fn name(&self) -> &'static str {
        "the join token"
    }

    fn remedy(&self) -> &'static str {
        "put a new join token into the token file"
    }

    fn gather(&self) -> Result<Evidence, EvidenceError> {
        let bound_to = self.token().map_err(|source| EvidenceError::Token {
            path: self.token_file.clone(),
            source,
        })?;
        let token = bound_to.to_string();
        Ok(Evidence {
            message: attest_node_request::Evidence::JoinToken(JoinTokenEvidence { token }),
            bound_to,
        })
    }
}
