//! A session with the database: connected, limited, and waited for no longer than a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_serve::secret_file;
use futures_util::future::poll_fn;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::{NoTls, TlsStream};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, Socket};

use super::Address;
use super::address::HostAddress;
use super::tls::Tls;
use crate::DatabaseError;

/// How long one answer of the database is waited for.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What the server is told of it: it gives up sooner than its client, holds no lock for one that went
/// away, acknowledges nothing that a crash would take back, isolates as the lock on the sequence
/// expects it, and compiles no statement, which takes longer than each of ours: all whatever the defaults of
/// server and role.
const LIMITS: &str = "SET statement_timeout = '8s'; SET lock_timeout = '4s'; \
                      SET idle_in_transaction_session_timeout = '8s'; \
                      SET client_min_messages = warning; \
                      SET default_transaction_isolation = 'read committed'; \
                      SELECT set_config('jit', 'off', false) WHERE current_setting('jit', true) = 'on'; \
                      SELECT set_config('synchronous_commit', 'on', false) \
                      WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')";
/// Longest password that is read, in bytes.
const MAX_PASSWORD: usize = 1_024;
/// Most notices that wait to be read. What comes beyond is dropped: a notice says only that there
/// is something to read.
const NOTICES: usize = 1;

/// An open session. It ends with this value.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    connection: JoinHandle<()>,
    notices: mpsc::Receiver<()>,
    /// Whether the server warned of something, such as a commit that no standby has.
    warned: Arc<AtomicBool>,
}

impl Session {
    /// Connects to the first host that takes writes.
    pub(super) async fn open(address: &Address) -> Result<Self, DatabaseError> {
        let mut told = Vec::new();
        for host in address.hosts() {
            // The client library bounds the first of several steps alone.
            let opened = timeout(host.within(), Self::connected(address, host)).await;
            match opened.unwrap_or_else(|_| Err(silent(host))) {
                Ok(session) => return Ok(session),
                Err(error) => told.push(error.to_string()),
            }
        }
        Err(DatabaseError::new(told.join("; ")))
    }

    async fn connected(address: &Address, host: &HostAddress) -> Result<Self, DatabaseError> {
        let failed = |error: Error| {
            let error = DatabaseError::of(&error);
            DatabaseError::new(format!("{host}: {error}"))
        };
        let config = with_password(address, host).await?;
        let session = match &address.tls {
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                Self::driven(client, connection)
            }
            Some(files) => {
                let tls = Tls::read(files.clone()).await?;
                let (client, connection) = config.connect(tls).await.map_err(failed)?;
                Self::driven(client, connection)
            }
        };
        let limited = session.client.batch_execute(LIMITS);
        session.answered(limited).await?;
        Ok(session)
    }

    fn driven<T>(client: Client, connection: Connection<Socket, T>) -> Self
    where
        T: TlsStream + Unpin + Send + 'static,
    {
        let (notified, notices) = mpsc::channel(NOTICES);
        let warned = Arc::new(AtomicBool::new(false));
        Self {
            client,
            connection: tokio::spawn(drive(connection, notified, Arc::clone(&warned))),
            notices,
            warned,
        }
    }

    /// What is asked through it.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for an answer, and not for ever.
    pub(super) async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, AnswerError> {
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(AnswerError::Answered(error)),
            Err(_) => Err(AnswerError::Silent),
        }
    }

    /// What the server warned of before, such as the collation of a database at the log-in, says nothing
    /// of the commit that comes.
    pub(super) fn forget_warnings(&self) {
        self.warned.store(false, Ordering::Release);
    }

    /// An error where the server warned of something since: a commit that it made may be on no standby.
    pub(super) fn unwarned(&self) -> Result<(), AnswerError> {
        match self.warned.load(Ordering::Acquire) {
            true => Err(AnswerError::Warned),
            false => Ok(()),
        }
    }

    /// Returns when the server said that something is to be read; `false` where the session ended.
    pub(super) async fn notified(&mut self) -> bool {
        self.notices.recv().await.is_some()
    }
}

impl Drop for Session {
    /// A server that does not answer is not waited for.
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// With the password of the file, where there is one.
async fn with_password(address: &Address, host: &HostAddress) -> Result<Config, DatabaseError> {
    let mut config = host.config(address);
    let Some(file) = address.password_file.clone() else {
        return Ok(config);
    };
    let unusable = format!("password_file {}", file.display());
    let read = tokio::task::spawn_blocking(move || secret_file::read(&file, MAX_PASSWORD));
    let read = read.await.map_err(|error| DatabaseError::of(&error))?;
    let read = read.map_err(|error| DatabaseError::new(format!("{unusable}: {error}")))?;
    config.password(read.trim_end_matches(['\r', '\n']));
    Ok(config)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("the database did not answer within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
    #[error("the database warned of the commit")]
    Warned,
    #[error("{}", DatabaseError::of(.0))]
    Answered(#[source] Error),
}

impl AnswerError {
    /// The code of SQL in which the server refused; `None` where it did not say anything.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Silent | Self::Warned => None,
            Self::Answered(error) => error.code().map(tokio_postgres::error::SqlState::code),
        }
    }
}

impl From<AnswerError> for DatabaseError {
    fn from(error: AnswerError) -> Self {
        Self::new(error.to_string())
    }
}

fn silent(host: &HostAddress) -> DatabaseError {
    let seconds = host.within().as_secs();
    DatabaseError::new(format!("{host} did not answer within {seconds} s"))
}

/// Reads and writes for the client until the session ends.
async fn drive<T: TlsStream + Unpin>(
    mut connection: Connection<Socket, T>,
    notified: mpsc::Sender<()>,
    warned: Arc<AtomicBool>,
) {
    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            Ok(AsyncMessage::Notification(_)) => {
                // One that waits already says the same.
                let _ = notified.try_send(());
            }
            // Lesser notices are not sent.
            Ok(AsyncMessage::Notice(notice)) => {
                tracing::debug!(%notice, "the database warned");
                warned.store(true, Ordering::Release);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a session with the database ended");
                return;
            }
        }
    }
}
