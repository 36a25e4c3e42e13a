//! The session that listens for notices of the server.

use countersign_model::Seq;

use super::Address;
use super::session::Session;
use super::statements::CHANNEL;
use crate::following::Listening;
use crate::{DatabaseError, unsigned};

/// One that the server may notify.
pub(crate) struct Listener {
    session: Session,
    notifies: bool,
}

impl Listening for Listener {
    type Address = Address;

    async fn open(address: &Address) -> Result<Self, DatabaseError> {
        let session = Session::open(address).await?;
        let listen = format!("LISTEN {CHANNEL}");
        let listening = session
            .answered(session.client().batch_execute(&listen))
            .await;
        let notifies = match listening {
            Ok(()) => true,
            Err(error) if error.code().is_some() => false,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { session, notifies })
    }

    fn notifies(&self) -> bool {
        self.notifies
    }

    async fn newest(&mut self) -> Result<Seq, DatabaseError> {
        let asked = "SELECT newest FROM countersign.sequence";
        let session = &self.session;
        let row = session
            .answered(session.client().query_one(asked, &[]))
            .await?;
        Ok(Seq(unsigned(row.get(0))))
    }

    async fn notified(&mut self) -> bool {
        self.session.notified().await
    }
}
