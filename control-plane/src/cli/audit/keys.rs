//! Whose signature a checkpoint has to bear: a C2SP verifier key, `name+id+base64`.

use std::path::Path;

use countersign_cli::{Exit, Failure};
use signed_note::{Note, StandardVerifier, Verifier as _, VerifierList};
use tlog_tiles::Checkpoint;

use super::folder::{Folder, MAX_TEXT_BYTES, read};

/// The key of a log.
pub(super) struct LogKey {
    name: String,
    known: VerifierList,
    /// Given by who asks, rather than found beside the log that it judges.
    pub(super) given: bool,
}

impl LogKey {
    /// The key that was given, as text or as a file, or that which lies beside the log.
    pub(super) fn open(given: Option<&str>, folder: &Folder) -> Result<Self, Failure> {
        let text = match given {
            Some(text) if text.contains('+') => text.to_owned(),
            Some(file) => text_of(Path::new(file))?,
            None => text_of(&folder.vkey_path())?,
        };
        let unusable = |error| {
            let message = format!("{:?} is no verifier key: {error}", text.trim());
            let remedy = "give the line of the log's key.vkey: name+id+base64";
            Failure::new(Exit::Usage, "key_unusable", message, remedy)
        };
        let verifier = StandardVerifier::new(text.trim()).map_err(unusable)?;
        Ok(Self {
            name: verifier.name().to_owned(),
            known: VerifierList::new(vec![Box::new(verifier)]),
            given: given.is_some(),
        })
    }

    /// The name of the key, which is the origin of its checkpoints.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The checkpoint of a note that this key signed, or why it is none.
    pub(super) fn checkpoint(&self, note: &[u8]) -> Result<Checkpoint, String> {
        let note = Note::from_bytes(note).map_err(|_| "is no signed note".to_owned())?;
        note.verify(&self.known)
            .map_err(|error| format!("is not signed by {}: {error}", self.name))?;
        let checkpoint =
            Checkpoint::from_bytes(note.text()).map_err(|_| "is no checkpoint".to_owned())?;
        if checkpoint.origin() == self.name {
            Ok(checkpoint)
        } else {
            Err(format!("is a checkpoint of {:?}", checkpoint.origin()))
        }
    }
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let unusable = |reason: String| {
        let message = format!("{} {reason}", path.display());
        let remedy = "give the log's verifier key with --key";
        Failure::new(Exit::Usage, "key_unusable", message, remedy)
    };
    let bytes = read(path, MAX_TEXT_BYTES).map_err(|unread| unusable(unread.to_string()))?;
    String::from_utf8(bytes).map_err(|_| unusable("is no text".to_owned()))
}
