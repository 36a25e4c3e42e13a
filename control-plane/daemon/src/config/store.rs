//! `[store]` and `[replica]`: the database that keeps the state, and the name under which this control
//! plane writes to it.

use std::path::PathBuf;

use countersign_authority::{DatabaseAddress, StoreSettings, check_name};
use countersign_cli::{Key, Reader};
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
        }
    }

    /// What the authority opens.
    pub(super) fn settings(&self) -> StoreSettings {
        match &self.address {
            None => StoreSettings::Sqlite,
            Some(address) => StoreSettings::Postgres {
                address: address.clone(),
                replica: self.replica.clone(),
                invitation: None,
            },
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map_err(|denied| denied.message)?;
    Ok(text.to_owned())
}
