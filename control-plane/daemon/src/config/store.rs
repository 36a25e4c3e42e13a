//! `[store]` and `[replica]`: the database that keeps the state, and the name under which this control
//! plane writes to it.

use std::fmt;
use std::path::{Path, PathBuf};

use countersign_authority::{DatabaseAddress, Invitation, StoreSettings, check_name};
use countersign_cli::{Exit, Failure, Key, Reader};
use countersign_serve::secret_file;
use serde::Serialize;

const URL: Key = Key::new(
    "store.url",
    "The PostgreSQL database that keeps the state, as a URL. Over a network only with \
     `sslmode=verify-full` and `sslrootcert`. Without it the state is in `data_dir`.",
)
.of("postgresql URL")
.by_default("SQLite in `data_dir`");
const PASSWORD_FILE: Key = Key::new(
    "store.password_file",
    "A file, mode 0600, that holds the password of the role in `store.url`. It is read at every \
     connection.",
);
const NAME: Key = Key::new(
    "replica.name",
    "The name of this control plane among those that share a database.",
)
.of("name")
.within("1 to 63 of a-z, 0-9 and -");

const URL_REMEDY: &str = "write postgresql://ROLE@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE, or \
     leave it out for SQLite in data_dir";
const NAME_REMEDY: &str = "write a short name such as \"b\"";
/// The name of the first.
const FIRST: &str = "a";
/// Longest invitation, in bytes: the names of a trust domain and a replica at their longest, and a
/// secret, several times over.
const MAX_INVITATION: usize = 4_096;

/// Where the state is kept.
#[derive(Clone, Debug, Serialize)]
pub struct Store {
    /// `store.url`, without role and password; absent: SQLite in the data directory.
    pub database: Option<String>,
    /// `store.password_file`.
    pub password_file: Option<PathBuf>,
    /// `replica.name`.
    pub replica: String,
    #[serde(skip)]
    address: Option<DatabaseAddress>,
    /// What `--join` brought.
    #[serde(skip)]
    invitation: Option<Invitation>,
}

impl Store {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let password_file = reader.path(&PASSWORD_FILE, None);
        let file = password_file.clone();
        let parse =
            |url: &str| DatabaseAddress::parse(url, file).map_err(|error| error.to_string());
        let address = reader.secret(&URL, URL_REMEDY, parse, DatabaseAddress::to_string);
        if password_file.is_some() && !reader.contains(URL) {
            reader.mistake(
                PASSWORD_FILE,
                "has no effect without store.url",
                "remove it",
            );
        }
        let replica = reader.text_or(&NAME, FIRST, NAME_REMEDY, name);
        Self {
            database: address.as_ref().map(DatabaseAddress::to_string),
            password_file,
            replica: replica.unwrap_or_else(|| FIRST.to_owned()),
            address,
            invitation: None,
        }
    }

    /// Takes the invitation with which this control plane joins those of its database, from its file.
    ///
    /// # Errors
    /// There is no database to join, or the file holds no invitation.
    pub(super) fn join(&mut self, file: &Path) -> Result<(), Failure> {
        if self.address.is_none() {
            return Err(nothing_shared());
        }
        let text = secret_file::read(file, MAX_INVITATION).map_err(|it| unread(file, &it))?;
        let invitation = Invitation::parse(&text).map_err(|it| unread(file, &it))?;
        self.invitation = Some(invitation);
        Ok(())
    }

    /// What the authority opens.
    pub(super) fn settings(&self) -> StoreSettings {
        match &self.address {
            None => StoreSettings::Sqlite,
            Some(address) => StoreSettings::Postgres {
                address: address.clone(),
                replica: self.replica.clone(),
                invitation: self.invitation.clone(),
            },
        }
    }
}

fn nothing_shared() -> Failure {
    Failure::new(
        Exit::Usage,
        "join_without_database",
        "the state is in data_dir: replica.name and store.url are needed to join",
        "set both: the name as it was invited, and store.url as the control plane has it that invited; or \
         leave --join out",
    )
}

fn unread(file: &Path, error: &dyn fmt::Display) -> Failure {
    Failure::new(
        Exit::Usage,
        "invitation_file",
        format!("{}: {error}", file.display()),
        "name the file that `countersign replica invite --out FILE` wrote, mode 0600, of root or of the \
         user of this process",
    )
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map_err(|denied| denied.message)?;
    Ok(text.to_owned())
}
