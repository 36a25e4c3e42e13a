//! What an operator asks of a database before, and after, a control plane uses it.

use std::time::Duration;

use countersign_model::Seq;
use tokio::time::Instant;

use super::Address;
use super::columns::log_id;
use super::schema::{self, VERSION, Version};
use super::session::Session;
use super::statements::CHANNEL;
use crate::{DatabaseError, StoreError, unsigned};

/// How many round trips the time of one is the best of.
const ROUND_TRIPS: usize = 5;
/// The version of the schema since which there are tables of logs.
const LOGS_SINCE: i32 = 2;

/// What was found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Where it is: hosts and database.
    pub database: String,
    /// The version of the server, as it says it.
    pub server: String,
    /// Whether the connection is encrypted, by the server's word; `None` where it does not say.
    pub tls: Option<String>,
    /// The role that was logged in.
    pub role: String,
    /// Whether that role may do everything, which it need not.
    pub is_superuser: bool,
    /// The schema that is there; `None` before the first start.
    pub schema: Option<i32>,
    /// The schema that this program writes.
    pub known_schema: i32,
    /// Whether this program may use it as it is.
    pub is_usable: bool,
    /// The newest commit.
    pub newest: Option<Seq>,
    /// How many entries there are.
    pub entries: Option<u64>,
    /// The issuance logs: the number and the size of each.
    pub logs: Vec<(u32, u64)>,
    /// The names that write to it.
    pub writers: Vec<String>,
    /// Which standbys a commit waits for; empty where it waits for none.
    pub synchronous_standbys: String,
    /// Whether a commit survives a crash of the server.
    pub is_durable: bool,
    /// Whether those who follow are told of a commit.
    pub notifies: bool,
    /// The time of a round trip.
    pub round_trip: Duration,
}

/// Looks at a database, and changes nothing.
///
/// # Errors
/// It cannot be reached, or does not answer.
pub async fn check(address: &Address) -> Result<Checked, StoreError> {
    let session = Session::open(address).await?;
    let present = schema::version(&session).await?;
    let is_usable = matches!(schema::is_usable(present), Ok(true));
    let (newest, entries, writers) = match present {
        Some(_) => content(&session).await?,
        None => (None, None, Vec::new()),
    };
    let logs = match present {
        Some(present) if present.version >= LOGS_SINCE => logs(&session).await?,
        _ => Vec::new(),
    };
    let notify = format!("NOTIFY {CHANNEL}");
    let notified = session.answered(session.client().batch_execute(&notify));
    Ok(Checked {
        database: address.to_string(),
        server: show(&session, "server_version").await?.unwrap_or_default(),
        tls: tls(&session).await?,
        role: text(&session, "SELECT current_user::text").await?,
        is_superuser: show(&session, "is_superuser").await? == Some("on".to_owned()),
        schema: present.map(|it: Version| it.version),
        known_schema: VERSION,
        is_usable,
        newest,
        entries,
        logs,
        writers,
        synchronous_standbys: show(&session, "synchronous_standby_names")
            .await?
            .unwrap_or_default(),
        is_durable: is_durable(&session).await?,
        notifies: notified.await.is_ok(),
        round_trip: round_trip(&session).await?,
    })
}

/// Brings the schema up to date, and says from which version to which.
///
/// # Errors
/// The role may not, or the schema is of a newer program.
pub async fn migrate(address: &Address) -> Result<(Option<i32>, i32), StoreError> {
    let session = Session::open(address).await?;
    let before = schema::migrate(&session).await?;
    Ok((before.map(|it| it.version), VERSION))
}

/// Lets a role that owns nothing use the tables: read and write, and change nothing about them.
///
/// # Errors
/// The role that is logged in does not own them, or there is no such role.
pub async fn grant(address: &Address, role: &str) -> Result<(), StoreError> {
    let session = Session::open(address).await?;
    // The server writes the name as it has to be quoted.
    let written = "SELECT format('GRANT USAGE ON SCHEMA countersign TO %1$I; \
                   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA countersign TO %1$I', \
                   $1::text)";
    let answer = session
        .answered(session.client().query_one(written, &[&role]))
        .await;
    let row = answer.map_err(DatabaseError::from)?;
    let granted: String = row.get(0);
    let granted = session.answered(session.client().batch_execute(&granted));
    Ok(granted.await.map_err(DatabaseError::from)?)
}

type Content = (Option<Seq>, Option<u64>, Vec<String>);

async fn content(session: &Session) -> Result<Content, DatabaseError> {
    let counted = "SELECT newest, (SELECT count(*) FROM countersign.entries) \
                   FROM countersign.sequence";
    let row = session
        .answered(session.client().query_one(counted, &[]))
        .await?;
    let names = "SELECT name FROM countersign.writers ORDER BY name";
    let names = session.answered(session.client().query(names, &[])).await?;
    Ok((
        Some(Seq(unsigned(row.get(0)))),
        Some(unsigned(row.get(1))),
        names.iter().map(|row| row.get(0)).collect(),
    ))
}

/// The logs and their sizes, at a cost that does not grow with them.
async fn logs(session: &Session) -> Result<Vec<(u32, u64)>, DatabaseError> {
    let each = "WITH RECURSIVE logs AS ( \
                (SELECT log_id FROM countersign.log_entries ORDER BY log_id LIMIT 1) UNION ALL \
                SELECT (SELECT next.log_id FROM countersign.log_entries AS next \
                WHERE next.log_id > logs.log_id ORDER BY next.log_id LIMIT 1) \
                FROM logs WHERE logs.log_id IS NOT NULL) \
                SELECT log_id, (SELECT MAX(leaf_index) + 1 FROM countersign.log_entries AS entry \
                WHERE entry.log_id = logs.log_id) FROM logs WHERE log_id IS NOT NULL";
    let rows = session.answered(session.client().query(each, &[])).await?;
    let logs = rows.iter();
    Ok(logs
        .map(|row| (log_id(row.get(0)), unsigned(row.get(1))))
        .collect())
}

/// A setting of the server; `None` where it has none of that name.
async fn show(session: &Session, name: &str) -> Result<Option<String>, DatabaseError> {
    let asked = "SELECT current_setting($1, true)";
    let row = session
        .answered(session.client().query_one(asked, &[&name]))
        .await?;
    Ok(row.get(0))
}

async fn text(session: &Session, sql: &str) -> Result<String, DatabaseError> {
    let row = session
        .answered(session.client().query_one(sql, &[]))
        .await?;
    Ok(row.get(0))
}

/// The version of TLS; `None` without TLS, and where the server keeps no such view.
async fn tls(session: &Session) -> Result<Option<String>, DatabaseError> {
    let asked = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    match session
        .answered(session.client().query_opt(asked, &[]))
        .await
    {
        Ok(row) => Ok(row.and_then(|row| row.get(0))),
        Err(error) if error.code().is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn is_durable(session: &Session) -> Result<bool, DatabaseError> {
    for name in ["fsync", "full_page_writes"] {
        if show(session, name).await? == Some("off".to_owned()) {
            return Ok(false);
        }
    }
    Ok(show(session, "synchronous_commit").await? != Some("off".to_owned()))
}

async fn round_trip(session: &Session) -> Result<Duration, DatabaseError> {
    let mut best = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let began = Instant::now();
        session
            .answered(session.client().batch_execute("SELECT 1"))
            .await?;
        best = best.min(began.elapsed());
    }
    Ok(best)
}
