//! Where a verb writes what it made: a file, or stdout for `-`.
//!
//! A file that is there is replaced, but for one that holds a secret: a slip of the keyboard must not cost
//! a key, a token that was not used yet, or a backup.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use countersign_backup::begins_as_backup;
use countersign_cli::{Exit, Failure};

/// Stands for stdin or stdout.
pub(crate) const DASH: &str = "-";
/// How much of a file is looked at: more than any file of keys that people keep has before its first one.
const LOOKED_AT: u64 = 64 * 1024;
/// What every private key in PEM has in its first line (RFC 7468 sections 10 and 11, and older ones).
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
/// How long a join token is: 256 bits in hex.
const TOKEN_DIGITS: usize = 64;

/// Where something goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Stdout,
    File(PathBuf),
}

/// A file that is written where nothing else was said.
pub(crate) fn file(out: Option<&Destination>) -> Option<&Path> {
    match out {
        Some(Destination::File(path)) => Some(path),
        Some(Destination::Stdout) | None => None,
    }
}

impl From<OsString> for Destination {
    fn from(text: OsString) -> Self {
        if text == DASH {
            Self::Stdout
        } else {
            Self::File(text.into())
        }
    }
}

/// What a file holds that must not be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    PrivateKey,
    JoinToken,
    Invitation,
    Backup,
}

impl Secret {
    fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "a private key",
            Self::JoinToken => "a join token",
            Self::Invitation => "an invitation of a control plane",
            Self::Backup => "a backup of a control plane",
        }
    }

    /// Judged by how the file begins.
    fn of(head: &[u8]) -> Option<Self> {
        let is_key = head.windows(PRIVATE_KEY.len()).any(|it| it == PRIVATE_KEY);
        let text = head.trim_ascii();
        let is_token = text.len() == TOKEN_DIGITS && text.iter().all(u8::is_ascii_hexdigit);
        if is_key {
            Some(Self::PrivateKey)
        } else if is_token {
            Some(Self::JoinToken)
        } else if is_invitation(text) {
            Some(Self::Invitation)
        } else {
            begins_as_backup(head).then_some(Self::Backup)
        }
    }
}

/// Whether it is what `replica invite` writes.
fn is_invitation(text: &[u8]) -> bool {
    let read: Result<serde_json::Map<_, _>, _> = serde_json::from_slice(text);
    read.is_ok_and(|it| it.contains_key("replica") && it.contains_key("secret"))
}

/// Whether a file is there with something in it, which nobody can see the worth of.
pub(crate) fn is_filled(path: &Path) -> bool {
    head(path).is_ok_and(|head| !head.is_empty())
}

/// Refuses a file that holds a secret. What cannot be looked at is judged by whoever writes it.
pub(crate) fn require_replaceable(path: &Path) -> Result<(), Failure> {
    match head(path).ok().and_then(|head| Secret::of(&head)) {
        None => Ok(()),
        Some(secret) => Err(Failure::new(
            Exit::Usage,
            "secret_not_replaced",
            format!(
                "{} holds {}, which would be gone",
                path.display(),
                secret.name()
            ),
            "write to another file, or move this one away",
        )),
    }
}

/// What `--json` prints would be mixed with what the flag writes to stdout.
pub(crate) fn stdout_taken(flag: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        "stdout_taken",
        format!("{flag} - and --json would both write to stdout"),
        format!("name a file with {flag}, or leave --json out"),
    )
}

/// How a regular file begins; nothing of anything else.
pub(crate) fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    if fs::metadata(path)?.is_file() {
        File::open(path)?.take(LOOKED_AT).read_to_end(&mut head)?;
    }
    Ok(head)
}

/// Writes a file that holds nothing secret, like any other file.
///
/// # Errors
/// The kernel's, with this code and remedy; a file that holds a secret is not replaced.
pub(crate) fn write(path: &Path, text: &str, code: &str, remedy: &str) -> Result<(), Failure> {
    require_replaceable(path)?;
    fs::write(path, text).map_err(|error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::new(Exit::Usage, code, message, remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(before: &[u8]) -> (Result<(), Failure>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, before).unwrap();
        let outcome = write(&path, "after", "x", "y");
        (outcome, fs::read(&path).unwrap())
    }

    #[test]
    fn dash_is_stdout() {
        assert_eq!(Destination::from(OsString::from("-")), Destination::Stdout);
        let file = Destination::from(OsString::from("./-"));
        assert_eq!(super::file(Some(&file)), Some(Path::new("./-")));
    }

    #[test]
    fn no_secret_is_replaced() {
        let backup = countersign_backup::Pack::new(Vec::new());
        let mut backup = backup;
        backup.bytes(b"database", "state.db").unwrap();
        let manifest = countersign_backup::Manifest {
            format: countersign_backup::FORMAT,
            trust_domain: "example.org".to_owned(),
            epoch: 1,
            log_id: 1,
            log_size: 0,
            made_at: jiff::Timestamp::UNIX_EPOCH,
            with_keys: true,
            files: std::collections::BTreeMap::new(),
        };
        let backup = backup.finish(manifest).unwrap();
        let key = "my key\n-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----\n";
        let token = format!("{}\n", "0a".repeat(32));
        let invitation = format!(
            "{{\"trust_domain\":\"example.org\",\"replica\":\"b\",\"secret\":\"{}\"}}\n",
            "0a".repeat(32)
        );
        for before in [
            key.as_bytes(),
            token.as_bytes(),
            invitation.as_bytes(),
            &backup,
        ] {
            let (outcome, after) = written(before);
            let refused = outcome.unwrap_err();
            assert_eq!(refused.code, "secret_not_replaced", "{refused}");
            assert_eq!(after, before);
        }
    }

    #[test]
    fn what_is_no_secret_is_replaced() {
        let certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let not_quite = "0a".repeat(31);
        for before in ["", "before", certificate, &not_quite, "{\"replica\":\"b\"}"] {
            let (outcome, after) = written(before.as_bytes());
            outcome.unwrap();
            assert_eq!(after, b"after");
        }
    }
}
