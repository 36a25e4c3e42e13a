//! Checkpoints (C2SP tlog-checkpoint): origin, size and root hash as a signed note.
//!
//! ```text
//! origin LF size LF base64(root) LF LF "— " name " " base64(key id ‖ signature) LF
//! ```

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::NoteKey;
use crate::tree::Hash;

/// Most bytes of a checkpoint that is read.
pub(crate) const MAX_NOTE_BYTES: u64 = 4096;
const SIGNATURE_LINE: &str = "\u{2014} ";

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// Why a note is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoteError {
    /// It is no checkpoint.
    Malformed,
    /// Another origin, or no signature of this key.
    Foreign,
    /// The signature of this key is not good.
    BadSignature,
}

impl Checkpoint {
    /// The signed note.
    pub(crate) fn sign(&self, key: &NoteKey) -> String {
        let text = self.text();
        let signature = [&key.id()[..], key.sign(text.as_bytes()).as_ref()].concat();
        let signature = STANDARD.encode(signature);
        format!("{text}\n{SIGNATURE_LINE}{} {signature}\n", key.name())
    }

    /// Reads a note that this key signed.
    pub(crate) fn open(note: &[u8], key: &NoteKey) -> Result<Self, NoteError> {
        let note = str::from_utf8(note).map_err(|_| NoteError::Malformed)?;
        let (text, signatures) = note.split_once("\n\n").ok_or(NoteError::Malformed)?;
        let checkpoint = Self::parse(text).ok_or(NoteError::Malformed)?;
        if checkpoint.origin != key.name() {
            return Err(NoteError::Foreign);
        }
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let ours = signatures.split('\n').find_map(|line| signature(line, key));
        let ours = ours.ok_or(NoteError::Foreign)?;
        UnparsedPublicKey::new(&ED25519, key.public())
            .verify(checkpoint.text().as_bytes(), &ours)
            .map_err(|_| NoteError::BadSignature)?;
        Ok(checkpoint)
    }

    /// Reads a note without its signatures: for one that something else vouches for.
    pub(crate) fn unsigned(note: &[u8]) -> Option<Self> {
        let (text, _) = str::from_utf8(note).ok()?.split_once("\n\n")?;
        Self::parse(text)
    }

    fn text(&self) -> String {
        let root = STANDARD.encode(self.root);
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// The text without its last line feed. What is not written exactly as we write it is refused.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let checkpoint = Self {
            origin: lines.next()?.to_owned(),
            size: lines.next()?.parse().ok()?,
            root: STANDARD.decode(lines.next()?).ok()?.try_into().ok()?,
        };
        (checkpoint.text().strip_suffix('\n') == Some(text)).then_some(checkpoint)
    }
}

/// The signature of a line, where it is by this key.
fn signature(line: &str, key: &NoteKey) -> Option<Vec<u8>> {
    let rest = line.strip_prefix(SIGNATURE_LINE)?;
    let (name, encoded) = rest.split_once(' ')?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let signature = decoded.strip_prefix(&key.id())?;
    (name == key.name()).then(|| signature.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> NoteKey {
        let folder = tempfile::tempdir().unwrap();
        NoteKey::open(&folder.path().join("key"), name).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "example.org/log".to_owned(),
            size: 1234,
            root: [7; 32],
        }
    }

    #[test]
    fn any_changed_byte_of_a_checkpoint_is_noticed() {
        let key = key("example.org/log");
        let note = checkpoint().sign(&key).into_bytes();
        assert_eq!(Checkpoint::open(&note, &key), Ok(checkpoint()));
        for at in 0..note.len() {
            let mut changed = note.clone();
            changed[at] ^= 1;
            assert!(Checkpoint::open(&changed, &key).is_err(), "byte {at}");
        }
    }

    #[test]
    fn another_key_or_origin_is_foreign() {
        let (ours, other) = (key("example.org/log"), key("example.org/log"));
        let note = checkpoint().sign(&other);
        let opened = Checkpoint::open(note.as_bytes(), &ours);
        assert_eq!(opened, Err(NoteError::Foreign));
        let renamed = key("example.org/other");
        let opened = Checkpoint::open(checkpoint().sign(&ours).as_bytes(), &renamed);
        assert_eq!(opened, Err(NoteError::Foreign));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_a_signature(text in "\\PC{0,200}") {
            let key = key("example.org/log");
            prop_assert!(Checkpoint::open(text.as_bytes(), &key).is_err());
            let text = format!("example.org/log\n{text}\n\n— example.org/log {text}\n");
            prop_assert!(Checkpoint::open(text.as_bytes(), &key).is_err());
        }
    }
}
