//! Whose signature a checkpoint has to bear: a C2SP verifier key, `name+id+base64`.

use std::path::Path;

use signed_note::{Note, NoteError, StandardVerifier, Verifier, VerifierList};
use tlog_tiles::Checkpoint;

use crate::error::AuditError;
use crate::folder::{Folder, MAX_TEXT_BYTES, read};
use crate::unread::Unread;

/// The key of a log, and those of the logs that it goes on from after a restore.
pub struct LogKeys {
    /// The first: who has only an older one cannot say what the log is now.
    own: VerifierList,
    /// All of them, for what was kept.
    known: VerifierList,
    /// Their names, for people, the log's own first.
    names: Vec<String>,
    /// Given by who asks, rather than found beside the log that they judge.
    pub(crate) given: bool,
}

impl LogKeys {
    /// The keys that were given, each as text or as a file, or that which lies beside the log.
    /// A text has a `+`, a path does not.
    ///
    /// # Errors
    /// One of them is no verifier key, or its file cannot be read.
    pub fn open<'a>(
        given: impl IntoIterator<Item = &'a str>,
        folder: &Folder,
    ) -> Result<Self, AuditError> {
        let given = given.into_iter().map(|given| match given {
            text if text.contains('+') => Ok(text.to_owned()),
            file => text_of(Path::new(file)),
        });
        let mut texts = given.collect::<Result<Vec<_>, _>>()?;
        let given = !texts.is_empty();
        if !given && !folder.path().is_dir() {
            let path = folder.checkpoint_path();
            let unread = Unread::Missing;
            return Err(AuditError::NoCheckpoint { path, unread });
        }
        if !given {
            texts.push(text_of(&folder.vkey_path())?);
        }
        let verifiers = |texts: &[String]| {
            let verifiers = texts.iter().map(|text| verifier(text));
            verifiers.collect::<Result<Vec<_>, _>>()
        };
        let (own, known) = (verifiers(&texts[..1])?, verifiers(&texts)?);
        let names = known.iter().map(|verifier| verifier.name().to_owned());
        Ok(Self {
            names: names.collect(),
            own: VerifierList::new(own),
            known: VerifierList::new(known),
            given,
        })
    }

    /// The newest checkpoint of a log, where the log's own key signed it, or why it is none. The
    /// key of a log before it is not enough: after a restore nobody guards that one.
    pub(crate) fn checkpoint(&self, note: &[u8]) -> Result<Checkpoint, String> {
        let own = &self.names[0];
        let checkpoint = signed_by(&self.own, own, note);
        if checkpoint.is_err()
            && let Ok(before) = signed_by(&self.known, "", note)
        {
            let origin = before.origin();
            return Err(format!(
                "is one of {origin}, not of {own}: the first --key is that of the log as it is now"
            ));
        }
        checkpoint
    }

    /// The checkpoint of a note that was kept, where one of these keys signed it: it may be of a
    /// log before this.
    pub(crate) fn kept(&self, note: &[u8]) -> Result<Checkpoint, String> {
        let parsed = Note::from_bytes(note);
        let verified = parsed.map(|note| note.verify(&self.known));
        if let Ok(Err(NoteError::UnverifiedNote)) = verified {
            return Err(format!(
                "is not signed by {}; if it is from before a restore, give the keys of both logs \
                 with --key",
                self.names.join(" or ")
            ));
        }
        signed_by(&self.known, &self.names.join(" or "), note)
    }
}

/// The checkpoint of a note that one of these keys signed. The name of a key is the origin of its
/// checkpoints.
fn signed_by(keys: &VerifierList, names: &str, note: &[u8]) -> Result<Checkpoint, String> {
    let note = Note::from_bytes(note).map_err(|_| "is no signed note".to_owned())?;
    let verified = note.verify(keys);
    let (signed, _) = verified.map_err(|error| format!("is not signed by {names}: {error}"))?;
    let checkpoint =
        Checkpoint::from_bytes(note.text()).map_err(|_| "is no checkpoint".to_owned())?;
    let origin = checkpoint.origin();
    if signed.iter().any(|signature| signature.name() == origin) {
        Ok(checkpoint)
    } else {
        Err(format!("is a checkpoint of {origin:?}"))
    }
}

fn verifier(text: &str) -> Result<Box<dyn Verifier>, AuditError> {
    let text = text.trim();
    match StandardVerifier::new(text) {
        Ok(verifier) => Ok(Box::new(verifier)),
        Err(error) => Err(AuditError::NotAKey {
            text: text.to_owned(),
            error,
        }),
    }
}

fn text_of(path: &Path) -> Result<String, AuditError> {
    let text = read(path, MAX_TEXT_BYTES)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| Unread::NotText));
    text.map_err(|unread| AuditError::KeyUnread {
        path: path.to_owned(),
        unread,
    })
}
