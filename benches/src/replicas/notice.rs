//! The least that the way from one control plane to another can take: a commit of one session of
//! PostgreSQL, of which another session is notified.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use countersign_tests_postgres::shared;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// What one of them does: a row that is locked and written, and a notice.
const COMMIT: &str = "BEGIN; UPDATE newest SET seq = seq + 1; NOTIFY commits; COMMIT";

/// Two sessions, without TLS.
pub struct Notices {
    writer: Client,
    _listener: Client,
    heard: mpsc::UnboundedReceiver<()>,
}

impl Notices {
    /// Opens both on a database of their own.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn start() -> Result<Self> {
        let url = shared().database().url().in_clear().to_string();
        let (tell, heard) = mpsc::unbounded_channel();
        let writer = session(&url, None).await?;
        writer
            .batch_execute("CREATE TABLE newest (seq bigint); INSERT INTO newest VALUES (0)")
            .await?;
        let listener = session(&url, Some(tell)).await?;
        listener.batch_execute("LISTEN commits").await?;
        Ok(Self {
            writer,
            _listener: listener,
            heard,
        })
    }

    /// From the beginning of a commit until the other session knows of it.
    ///
    /// # Errors
    /// A session ended.
    pub async fn one(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.writer.batch_execute(COMMIT).await?;
        self.heard.recv().await.context("the session ended")?;
        Ok(begun.elapsed())
    }
}

async fn session(url: &str, tell: Option<mpsc::UnboundedSender<()>>) -> Result<Client> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let (AsyncMessage::Notification(_), Some(tell)) = (message, &tell)
                && tell.send(()).is_err()
            {
                return;
            }
        }
    });
    Ok(client)
}
