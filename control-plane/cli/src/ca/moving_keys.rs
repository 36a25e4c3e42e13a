//! `countersign ca give-key` and `ca take-key`: the keys of root and intermediate go to another control
//! plane, in a file that an operator carries.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::admin_client::AdminClient;
use countersign_proto::admin::{ForgetKeysRequest, GiveKeysRequest, MovedKey, TakeKeysRequest};
use countersign_serve::secret_file;
use countersign_verify::pem;
use serde::Serialize;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use crate::called::Called;
use crate::client::{failure, request};
use crate::destination;
use crate::output::{Output, shell_word};

pub(super) const GIVE_EXAMPLES: &str = "Examples:\n  \
    countersign ca give-key --out root.key\n\n\
    Of the keys of root and intermediate, those that are on the disk of this control plane. They are\n\
    removed from it once the file is written; cut short in between, the same command with --replace\n\
    does the rest. Until another control plane has taken them, issuing goes on with the issuing CAs\n\
    that there are. A key in a token is not moved: every control plane with the token can use it.";

pub(super) const TAKE_EXAMPLES: &str = "Examples:\n  \
    countersign ca take-key --in root.key\n  \
    shred -u root.key";

/// Most bytes of a file with keys, and most keys in it.
const MAX_FILE_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Give {
    /// A file for the keys, which its owner alone may open: PEM
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace what is in the file: keys that are in it are lost
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Take {
    /// The file that `ca give-key` wrote
    #[arg(long = "in", value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, PartialEq, Serialize)]
struct Moved {
    keys: Vec<Key>,
    path: PathBuf,
    /// The control plane that has them now; none while they are in the file alone.
    replica: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Key {
    key_id: String,
    tier: String,
}

impl Give {
    pub(super) async fn run(
        self,
        admin: &mut AdminClient<Channel>,
        output: Output,
        called: &Called,
    ) -> Result<(), Failure> {
        require_room(&self.out, self.replace)?;
        let answer = admin.give_keys(request(GiveKeysRequest {})).await;
        let (mut keys, mut text) = (Vec::new(), Zeroizing::new(String::new()));
        for given in answer.map_err(failure)?.into_inner().keys {
            let pkcs8 = Zeroizing::new(given.pkcs8);
            text.push_str(&Zeroizing::new(pem::write(pem::PRIVATE_KEY, &pkcs8)));
            keys.push(Key::from(given.key.unwrap_or_default()));
        }
        secret_file::write(&self.out, &text).map_err(|error| unwritten(&self.out, &error))?;
        let forget = ForgetKeysRequest {
            key_ids: keys.iter().map(|key| key.key_id.clone()).collect(),
        };
        admin.forget_keys(request(forget)).await.map_err(failure)?;
        let moved = Moved {
            keys,
            path: self.out,
            replica: None,
        };
        output.show(&moved, |moved| moved.given(called))
    }
}

impl Take {
    pub(super) async fn run(
        self,
        admin: &mut AdminClient<Channel>,
        output: Output,
    ) -> Result<(), Failure> {
        let keys = read(&self.file)?;
        let taken = admin.take_keys(request(TakeKeysRequest { keys })).await;
        let taken = taken.map_err(failure)?.into_inner();
        let moved = Moved {
            keys: taken.keys.into_iter().map(Key::from).collect(),
            path: self.file,
            replica: Some(taken.replica),
        };
        output.show(&moved, Moved::taken)
    }
}

impl Moved {
    fn given(&self, called: &Called) -> String {
        let file = shell_word(&self.path.to_string_lossy());
        format!(
            "{}: {}, and not on this control plane any more\n\
             bring the file to another one, mode 0600, and run there\n  {}",
            self.path.display(),
            self.named(),
            called.command(&format!("ca take-key --in {file}"))
        )
    }

    fn taken(&self) -> String {
        let replica = self.replica.as_deref().unwrap_or_default();
        let file = shell_word(&self.path.to_string_lossy());
        format!(
            "{} at {replica}, which certifies the issuing CAs of all from now on\n\
             the file is not needed any more\n  shred -u {file}",
            self.named()
        )
    }

    /// `key of root 9c2a…, key of intermediate 71f0…`.
    fn named(&self) -> String {
        let named = |key: &Key| format!("key of {} {}", key.tier, key.key_id);
        let named: Vec<_> = self.keys.iter().map(named).collect();
        named.join(", ")
    }
}

impl From<MovedKey> for Key {
    fn from(moved: MovedKey) -> Self {
        Self {
            key_id: moved.key_id,
            tier: moved.tier,
        }
    }
}

/// The keys in a file, as PKCS#8.
fn read(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let unusable = |why: String, remedy: &str| {
        let message = format!("{}: {why}", file.display());
        Failure::new(Exit::Usage, "key_file", message, remedy)
    };
    let text = secret_file::read(file, MAX_FILE_BYTES)
        .map_err(|error| unusable(error.to_string(), "give the file that ca give-key wrote"))?;
    let bounds = pem::Bounds {
        text: MAX_FILE_BYTES,
        blocks: MAX_KEYS,
        block: MAX_FILE_BYTES,
    };
    pem::read(text.as_bytes(), pem::PRIVATE_KEY, bounds).map_err(|error| {
        let remedy = "give the file that ca give-key wrote: blocks of PRIVATE KEY alone";
        unusable(error.to_string(), remedy)
    })
}

/// Judged before a key is given out.
fn require_room(path: &Path, replace: bool) -> Result<(), Failure> {
    secret_file::require_writable(path).map_err(|error| unwritten(path, &error))?;
    if !replace && destination::is_filled(path) {
        return Err(Failure::new(
            Exit::Usage,
            "key_file_exists",
            format!("{} is there, and is not empty", path.display()),
            "name another file with --out, or replace what is in this one with --replace",
        ));
    }
    Ok(())
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        "key_file_not_written",
        format!("cannot write {}: {error}", path.display()),
        "name a file in a directory that you can write; the keys are still where they were",
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn moved(replica: Option<&str>) -> Moved {
        let key = |tier: &str, key_id: &str| Key {
            key_id: key_id.to_owned(),
            tier: tier.to_owned(),
        };
        Moved {
            keys: vec![key("root", "9c2a"), key("intermediate", "71f0")],
            path: "my root.key".into(),
            replica: replica.map(str::to_owned),
        }
    }

    #[test]
    fn each_end_of_a_move_says_what_comes_next() {
        assert_eq!(
            moved(None).given(&Called::default()),
            "my root.key: key of root 9c2a, key of intermediate 71f0, and not on this control plane any more\n\
             bring the file to another one, mode 0600, and run there\n  \
             countersign ca take-key --in 'my root.key'"
        );
        assert_eq!(
            moved(Some("b")).taken(),
            "key of root 9c2a, key of intermediate 71f0 at b, which certifies the issuing CAs of all from now on\n\
             the file is not needed any more\n  shred -u 'my root.key'"
        );
    }

    #[test]
    fn file_of_keys_is_read_where_nobody_else_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let text = format!(
            "{}{}",
            pem::write(pem::PRIVATE_KEY, b"one"),
            pem::write(pem::PRIVATE_KEY, b"two")
        );
        secret_file::write(&file, &text).unwrap();
        assert_eq!(read(&file).unwrap(), [b"one", b"two"]);
        set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let open = read(&file).unwrap_err();
        assert!(open.to_string().contains("open to others"), "{open}");
        set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        write(&file, pem::write(pem::CERTIFICATE, b"one")).unwrap();
        assert_eq!(read(&file).unwrap_err().code, "key_file");
        write(
            &file,
            pem::write(pem::PRIVATE_KEY, b"one").repeat(MAX_KEYS + 1),
        )
        .unwrap();
        assert_eq!(read(&file).unwrap_err().code, "key_file");
        let kept = require_room(&file, false).unwrap_err();
        assert_eq!(kept.code, "key_file_exists");
        require_room(&file, true).unwrap();
    }
}
