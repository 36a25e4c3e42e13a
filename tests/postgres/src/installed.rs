//! PostgreSQL as it is installed, and the account that runs it: it refuses to be run by root.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Where Debian puts a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Accounts that may run it where the tests are run by root. Debian's package makes the first.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// The newest version, and who runs it.
pub(crate) static INSTALLED: LazyLock<Installed> = LazyLock::new(|| Installed {
    bin: newest(Path::new(VERSIONS)).unwrap_or_else(|| {
        panic!("no PostgreSQL in {VERSIONS}: run `tests/setup.sh .venv`, or `make test`")
    }),
    account: rustix::process::geteuid().is_root().then(account),
});

/// What is run, and by whom.
#[derive(Debug)]
pub(crate) struct Installed {
    bin: PathBuf,
    /// None where the tests are not run by root: then it is who runs them.
    account: Option<Account>,
}

/// The numbers of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Installed {
    /// The path of one of its programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// A program that is run by the account of the server, in a folder.
    pub(crate) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        without_ways(&mut command).current_dir(folder);
        if let Some(Account { user, group }) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    /// Gives a file or a folder to that account.
    pub(crate) fn give(&self, path: &Path) {
        if let Some(Account { user, group }) = self.account {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

/// Takes from a client what a person may have set for another server: variables, and files at home.
pub(crate) fn without_ways(client: &mut Command) -> &mut Command {
    let set = std::env::vars_os().map(|(name, _)| name);
    for name in set.filter(|name| name.to_string_lossy().starts_with("PG")) {
        client.env_remove(name);
    }
    client.env("HOME", "/")
}

/// The `bin` of the newest version that has a server.
fn newest(versions: &Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(versions).ok()?.flatten();
    let version = |name: &str| name.parse::<u32>().ok();
    let numbered = folders.filter_map(|it| version(it.file_name().to_str()?).zip(Some(it.path())));
    let with_server = numbered.filter(|(_, path)| path.join("bin/initdb").is_file());
    let (_, path) = with_server.max()?;
    Some(path.join("bin"))
}

fn account() -> Account {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let found = ACCOUNTS.iter().find_map(|name| in_list(&accounts, name));
    found.unwrap_or_else(|| panic!("none of the accounts {ACCOUNTS:?} is in /etc/passwd"))
}

/// An account of a list such as `/etc/passwd`.
fn in_list(list: &str, name: &str) -> Option<Account> {
    let fields = list.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let of_name = |fields: Vec<&str>| match fields[..] {
        [first, _, user, group, ..] if first == name => Some(Account {
            user: user.parse().ok()?,
            group: group.parse().ok()?,
        }),
        _ => None,
    };
    fields.into_iter().find_map(of_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_with_a_server_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path()), None);
        for (version, program) in [
            ("9", "initdb"),
            ("15", "initdb"),
            ("16", "psql"),
            ("x", "initdb"),
        ] {
            let bin = folder.path().join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            std::fs::write(bin.join(program), "").unwrap();
        }
        assert_eq!(newest(folder.path()), Some(folder.path().join("15/bin")));
    }

    #[test]
    fn account_is_found_by_its_whole_name() {
        let list = "postgresql:x:1:2::/:\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        let (user, group) = (101, 104);
        assert_eq!(in_list(list, "postgres"), Some(Account { user, group }));
        assert_eq!(in_list(list, "postgre"), None);
    }
}
