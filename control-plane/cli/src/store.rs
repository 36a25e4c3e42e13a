//! `countersign store`: the database of a control plane, offline: look at it, make its tables, move a
//! state to it and back.

mod shown;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_cli::{Exit, Failure};
use countersign_store::copy::{CopyError, to_database, to_files};
use countersign_store::postgres::{Address, check, grant, migrate};
use countersign_store::{DataDir, StoreError};

use crate::output::Output;
use shown::{Found, Migrated, Moved};

const URL_HELP: &str = "postgresql://ROLE@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE";

const CHECK_EXAMPLES: &str = "Examples:\n  \
    countersign store check --url 'postgresql://countersign@db/countersign?sslmode=verify-full&sslrootcert=/etc/countersign/db-ca.pem' \\\n      \
    --password-file /etc/countersign/db-password\n\n\
    Nothing is changed. Exit code 1 where a control plane could not use it as it is.";
const MIGRATE_EXAMPLES: &str = "Example:\n  \
    countersign store migrate --url 'postgresql://owner@db/countersign?sslmode=verify-full&sslrootcert=/etc/countersign/db-ca.pem' \\\n      \
    --password-file owner-password --grant-to countersign\n\n\
    A control plane does it by itself when it starts, where its role may. Programs of the version before\n\
    can go on meanwhile.";
const COPY_EXAMPLES: &str = "Examples:\n  \
    countersign store copy --from /var/lib/countersign/control-plane \\\n      \
    --to 'postgresql://countersign@db/countersign?sslmode=verify-full&sslrootcert=/etc/countersign/db-ca.pem'\n  \
    countersign store copy --to /var/lib/countersign/control-plane \\\n      \
    --from 'postgresql://countersign@db/countersign?sslmode=verify-full&sslrootcert=/etc/countersign/db-ca.pem'\n\n\
    The control plane must be stopped. The copy is read again and compared entry by entry; then the\n\
    state that was copied is set aside, so that nothing starts from it by mistake. The issuance log and\n\
    the keys are in the data_dir and stay there. Then add, or remove, store.url and start it again.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Look at a database: can it be used, is it durable, who writes to it
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Database),
    /// Make or change the tables, for a role that a control plane does not have
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate(Migrate),
    /// Move the state between a data_dir and a database
    #[command(after_help = COPY_EXAMPLES)]
    Copy(Copy),
}

#[derive(Debug, Args)]
pub(crate) struct Database {
    /// The database
    #[arg(long, value_name = "URL", long_help = URL_HELP)]
    url: String,
    /// A file, mode 0600, that holds the password of the role
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    database: Database,
    /// The role of the control plane, where it is not the one of the URL: it may use the tables
    #[arg(long, value_name = "ROLE")]
    grant_to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Where the state is: a data_dir, or the URL of a database
    #[arg(long, value_name = "DIR|URL")]
    from: String,
    /// Where it goes: the other of the two, which has no state yet
    #[arg(long, value_name = "DIR|URL")]
    to: String,
    /// A file, mode 0600, that holds the password of the role
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Verb {
    pub(crate) async fn run(self, output: Output) -> Result<Exit, Failure> {
        match self {
            Self::Check(database) => {
                let found = check(&database.address()?)
                    .await
                    .map_err(|it| failed(&it))?;
                let found = Found::new(found);
                output.show(&found, Found::text)?;
                Ok(if found.usable { Exit::Yes } else { Exit::No })
            }
            Self::Migrate(asked) => {
                let address = asked.database.address()?;
                let migrated = migrate(&address).await;
                let (from, to) = migrated.map_err(|it| failed(&it))?;
                if let Some(role) = &asked.grant_to {
                    let granted = grant(&address, role).await;
                    granted.map_err(|it| failed(&it))?;
                }
                let granted_to = asked.grant_to;
                let migrated = Migrated {
                    from,
                    to,
                    granted_to,
                };
                output.show(&migrated, Migrated::text)?;
                Ok(Exit::Yes)
            }
            Self::Copy(copy) => copy.run(output).await,
        }
    }
}

impl Database {
    fn address(self) -> Result<Address, Failure> {
        address(&self.url, self.password_file)
    }
}

fn is_url(text: &str) -> bool {
    text.contains("://")
}

impl Copy {
    async fn run(self, output: Output) -> Result<Exit, Failure> {
        let copied = match (is_url(&self.from), is_url(&self.to)) {
            (false, true) => {
                let address = address(&self.to, self.password_file)?;
                to_database(&data_dir(&self.from)?, &address).await
            }
            (true, false) => {
                let address = address(&self.from, self.password_file)?;
                to_files(&address, &data_dir(&self.to)?).await
            }
            _ => {
                return Err(Failure::new(
                    Exit::Usage,
                    "one_of_each",
                    "--from and --to are of one kind",
                    "name the data_dir of a control plane and the URL of a database",
                ));
            }
        };
        let copied = copied.map_err(|error| not_copied(&error))?;
        // Without role and password.
        let shown = |text: &str| match is_url(text) {
            true => Address::parse(text, None).map_or_else(|_| String::new(), |it| it.to_string()),
            false => text.to_owned(),
        };
        let moved = Moved::new(shown(&self.from), shown(&self.to), copied);
        output.show(&moved, Moved::text)?;
        Ok(Exit::Yes)
    }
}

fn address(url: &str, password_file: Option<PathBuf>) -> Result<Address, Failure> {
    Address::parse(url, password_file).map_err(|error| {
        let remedy = format!("write {URL_HELP}");
        Failure::new(Exit::Usage, "database_url", error.to_string(), remedy)
    })
}

fn data_dir(path: &str) -> Result<DataDir, Failure> {
    if !PathBuf::from(path).is_dir() {
        let message = format!("{path} is no folder");
        return Err(Failure::new(
            Exit::Usage,
            "data_dir_unusable",
            message,
            "name the data_dir of the control plane, whose log and keys are there",
        ));
    }
    DataDir::open(path.as_ref()).map_err(|error| {
        Failure::new(
            Exit::Usage,
            "data_dir_unusable",
            error.to_string(),
            "stop the control plane, and run this as its user",
        )
    })
}

fn failed(error: &StoreError) -> Failure {
    let (exit, code, remedy) = match error {
        StoreError::Schema(_) => (
            Exit::Denied,
            "database_schema",
            "see docs/operations.md, \"A database\"",
        ),
        _ => (
            Exit::Unreachable,
            "database_unavailable",
            "check the URL, the password, the certificate and that the database runs",
        ),
    };
    Failure::new(exit, code, error.to_string(), remedy)
}

fn not_copied(error: &CopyError) -> Failure {
    let (code, remedy) = match error {
        CopyError::Store(StoreError::Conflict) => (
            "copy_differs",
            "stop the control plane that writes to the database, then copy again",
        ),
        CopyError::Store(error) => return failed(error),
        CopyError::NoState => (
            "no_state",
            "check --from: it has none, or was moved from there",
        ),
        CopyError::NotEmpty => ("state_there", "name a target that has no state in --to"),
        CopyError::Differs(_) => ("copy_differs", "look whether something else writes to it"),
        CopyError::Io { .. } => (
            "data_dir_unusable",
            "check the folder, its owner and free space",
        ),
    };
    Failure::new(Exit::Usage, code, error.to_string(), remedy)
}
