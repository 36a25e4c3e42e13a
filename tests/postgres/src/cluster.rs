//! A server with a data directory, an address and an authority of its own.

mod backup;
mod disk;
mod faults;
mod postmaster;
mod processes;
mod settings;
mod standby;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::installed::INSTALLED;
use crate::psql::Rows;
use crate::template::{DATABASE, PASSWORDS, ROLE, SUPERUSER};
use crate::tls::Authority;
use crate::url::Url;
use crate::{folder, template, tls, wait};

pub use backup::Backup;
pub(crate) use processes::processes_in;
use processes::stands_still;
pub use settings::Setup;

/// The files of its folder.
const DATA: &str = "data";
const LOG: &str = "log";
const CONFIGURATION: &str = "postgresql.conf";
const CLIENTS: &str = "pg_hba.conf";

/// A running server, or one that was stopped. It ends when it is dropped, with its data.
#[derive(Debug)]
pub struct Cluster {
    /// Holds data, log, certificate, configuration and Unix socket.
    folder: PathBuf,
    setup: Setup,
    port: u16,
    /// Settings that were changed since.
    changed: Mutex<Vec<(String, String)>>,
    /// None while it does not run.
    postmaster: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Cluster {
    /// Starts a new one that listens on loopback, with and without TLS.
    ///
    /// # Panics
    /// PostgreSQL is not installed, or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    /// Starts a new one with other settings.
    ///
    /// # Panics
    /// PostgreSQL is not installed, or does not start.
    #[must_use]
    pub fn with(setup: Setup) -> Self {
        let mut cluster = Self::bare(setup);
        template::copy_into(&cluster.data());
        cluster.start_at_a_free_port();
        cluster
    }

    /// One without data.
    fn bare(setup: Setup) -> Self {
        let folder = folder::make();
        folder::make_private(&folder.join(DATA));
        if setup.small_disk {
            disk::mount(&folder.join(DATA));
        }
        tls::authority().certify(&tls::NAMES, &folder);
        Self {
            folder,
            setup,
            port: 0,
            changed: Mutex::default(),
            postmaster: Mutex::default(),
            databases: AtomicU32::new(0),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The file of the certificate by which [`Url`]s of this cluster judge it.
    pub fn ca(&self) -> &'static Path {
        tls::authority().path()
    }

    /// The database `countersign`, which the role `countersign` owns: over TLS, to an address that the
    /// certificate names.
    pub fn url(&self) -> Url {
        self.url_of(DATABASE)
    }

    fn url_of(&self, database: &str) -> Url {
        Url::new([ROLE, &PASSWORDS.role, database], self.address(), self.ca())
    }

    /// A new database that the same role owns.
    ///
    /// # Panics
    /// The server does not make it.
    pub fn database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.sql(&format!("create database {name} owner {ROLE}"));
        Database {
            url: self.url_of(&name),
            superuser: self.superuser(&name),
        }
    }

    /// A database as the superuser sees it, over the Unix socket.
    fn superuser(&self, database: &str) -> Url {
        let url = self.superuser_over_tcp(database);
        url.in_folder(&self.folder, self.port)
    }

    fn superuser_over_tcp(&self, database: &str) -> Url {
        let who = [SUPERUSER, &PASSWORDS.superuser, database];
        Url::new(who, self.address(), self.ca())
    }

    /// Runs statements as the superuser, in the database `countersign`.
    ///
    /// # Panics
    /// One of them fails.
    pub fn sql(&self, text: &str) -> Rows {
        let done = self.try_sql(text);
        done.unwrap_or_else(|told| panic!("{text}: {told}\n{}", self.log()))
    }

    /// The same, where a failure is of interest.
    ///
    /// # Errors
    /// What the server, or the way to it, says.
    pub fn try_sql(&self, text: &str) -> Result<Rows, String> {
        self.superuser(DATABASE).sql(text)
    }

    /// Has it show another certificate from now on: one for other names than [`tls::NAMES`], or signed
    /// by an authority that nobody trusts.
    ///
    /// # Panics
    /// It does not read it.
    pub fn show(&self, authority: &Authority, names: &[&str]) {
        authority.certify(names, &self.folder);
        self.reload();
    }

    /// Changes a setting that new connections see from now on.
    ///
    /// # Panics
    /// It does not read it.
    pub fn set(&self, name: &str, value: &str) {
        let changed = (name.to_owned(), value.to_owned());
        self.changed.lock().unwrap().push(changed);
        self.configure();
        self.reload();
    }

    /// What it has logged, of all runs.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A failed test shows what its servers said.
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "the test runner captures it")]
            {
                eprintln!("--- PostgreSQL at {}\n{}", self.address(), self.log());
            }
        }
        folder::end(&self.folder);
        let postmaster = self.postmaster.get_mut();
        if let Some(postmaster) = postmaster.unwrap_or_else(PoisonError::into_inner) {
            // It has ended with its folder.
            let _ = postmaster.wait();
        }
    }
}

/// A database of a cluster, of one test.
#[derive(Clone, Debug)]
pub struct Database {
    url: Url,
    superuser: Url,
}

impl Database {
    /// Where it is, for who owns it: over TLS, to an address that the certificate names.
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// Runs statements in it as the superuser.
    ///
    /// # Panics
    /// One of them fails.
    pub fn sql(&self, text: &str) -> Rows {
        let done = self.superuser.sql(text);
        done.unwrap_or_else(|told| panic!("{text}: {told}"))
    }
}
