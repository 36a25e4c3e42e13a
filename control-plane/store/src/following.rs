//! Whoever commits, it is known here: a database that can notifies of it, and it is asked for now and then.
//!
//! A notice is a hint that there is something to read; what there is the sequence says. So a notice
//! that is lost costs the time to the next question, and a database that sends none is followed by
//! questions alone.

use std::sync::Arc;
use std::time::Duration;

use countersign_model::Seq;
use countersign_refusal::RefusedWrites;
use countersign_telemetry::{Principal, peer_line};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::DatabaseError;

/// How often the sequence is asked for where the database notifies.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// And where it does not.
const ASK_OFTEN: Duration = Duration::from_millis(100);
/// How long after a session that ended the next one is opened.
const CONNECT_AGAIN: Duration = Duration::from_secs(1);

/// A session that listens.
pub(crate) trait Listening: Sized + Send + 'static {
    /// Where it is opened.
    type Address: Send + Sync + 'static;

    /// Opens it.
    fn open(at: &Self::Address) -> impl Future<Output = Result<Self, DatabaseError>> + Send;

    /// Whether the database notifies.
    fn notifies(&self) -> bool;

    /// The newest commit.
    fn newest(&mut self) -> impl Future<Output = Result<Seq, DatabaseError>> + Send;

    /// Returns when somebody committed; `false` where the session ended.
    fn notified(&mut self) -> impl Future<Output = bool> + Send;
}

/// Tells of the newest commit until nobody wants to know.
pub(crate) async fn follow<S: Listening>(
    address: S::Address,
    newest: watch::Sender<Seq>,
    deaf: Arc<RefusedWrites>,
) {
    let followed = async {
        loop {
            let Err(error) = follow_session::<S>(&address, &newest, &deaf).await;
            // Nobody may write for a while; readiness tells at once.
            if deaf.refused(error.to_string()) {
                peer_line!(WARN, Principal::part("store"), %error, "the database is away");
            }
            sleep(CONNECT_AGAIN).await;
        }
    };
    tokio::select! {
        () = followed => {}
        () = newest.closed() => {}
    }
}

async fn follow_session<S: Listening>(
    address: &S::Address,
    newest: &watch::Sender<Seq>,
    deaf: &RefusedWrites,
) -> Result<std::convert::Infallible, DatabaseError> {
    let mut session = S::open(address).await?;
    let every = match session.notifies() {
        true => ASK_EVERY,
        false => ASK_OFTEN,
    };
    loop {
        let found = session.newest().await?;
        let told = *newest.borrow();
        if found < told {
            return Err(DatabaseError::new(format!(
                "the database is older than what was read of it: commit {} is its newest, and {} was",
                found.0, told.0
            )));
        }
        if deaf.taken() {
            let store = Principal::part("store");
            peer_line!(INFO, store, "the database is back");
        }
        newest.send_if_modified(|newest| std::mem::replace(newest, found) != found);
        if timeout(every, session.notified()).await == Ok(false) {
            return Err(DatabaseError::new("the session that listens ended"));
        }
    }
}
