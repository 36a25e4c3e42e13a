//! `countersign replica seal` and `replica remove`: a control plane that does not come back.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::{
    ListReplicasRequest, RemoveReplicaRequest, SealReplicaRequest, SealReplicaResponse,
};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::sleep;
use tonic::Request;

use super::row::Sealing;
use crate::called::Called;
use crate::client::{Client, failure, request, time};
use crate::distance::to_the_second;
use crate::output::{Output, filled, many};

/// How often it is asked how far a seal is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Of which control plane.
#[derive(Debug, Args)]
pub(crate) struct Gone {
    /// Its name, as `replica list` shows it
    #[arg(long)]
    name: String,
    /// Also where it was heard of within the last 15 s: it runs, and nobody can stop it
    #[arg(long)]
    force: bool,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub(super) struct Ended {
    pub(super) name: String,
    /// sealed or withdrawn.
    pub(super) state: &'static str,
    /// Whether it was sealed before; the rest is null of an invitation.
    pub(super) was_sealed: Option<bool>,
    pub(super) log_id: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) root_hash: Option<String>,
    pub(super) since: Option<Timestamp>,
    /// Where the tiles are, on the machine of the control plane that answered.
    pub(super) folder: Option<PathBuf>,
}

impl Gone {
    pub(super) async fn seal(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        self.tell(output);
        let Self { name, force } = self;
        let asked = SealReplicaRequest {
            name: name.clone(),
            force,
        };
        // It takes as long as its log is large.
        let sealed = admin.seal_replica(Request::new(asked));
        let sealed = followed(sealed, &name, client, output).await;
        let ended = Ended::sealed(name, sealed.map_err(failure)?.into_inner());
        output.show(&ended, |it| it.text(client.called()))?;
        Ok(Exit::Yes)
    }

    pub(super) async fn remove(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        self.tell(output);
        let Self { name, force } = self;
        let asked = RemoveReplicaRequest {
            name: name.clone(),
            force,
        };
        let removed = admin.remove_replica(Request::new(asked));
        let removed = followed(removed, &name, client, output).await;
        let ended = match removed.map_err(failure)?.into_inner().sealed {
            Some(sealed) => Ended::sealed(name, sealed),
            None => Ended::withdrawn(name),
        };
        output.show(&ended, |it| it.text(client.called()))?;
        Ok(Exit::Yes)
    }

    fn tell(&self, output: Output) {
        let name = &self.name;
        output.progress(format!(
            "ending {name}: a log that has many entries takes a while; where this is cut short, give the command again"
        ));
    }
}

/// Waits for the end of a seal, and says now and then how far it is.
async fn followed<T>(
    seal: impl Future<Output = T>,
    name: &str,
    client: &Client,
    output: Output,
) -> T {
    let mut seal = pin!(seal);
    let mut told = None;
    loop {
        tokio::select! {
            ended = &mut seal => return ended,
            () = sleep(LOOK_EVERY) => {}
        }
        // Whoever does not tell how far it is seals it all the same.
        let far = tokio::select! {
            ended = &mut seal => return ended,
            far = how_far(name, client) => far.ok().flatten(),
        };
        if far != told
            && let Some(Sealing { entries, of }) = far
        {
            output.progress(format!("{entries} of {of} entries"));
            told = far;
        }
    }
}

/// How far the seal of a log is, where its entries are counted.
async fn how_far(name: &str, client: &Client) -> Result<Option<Sealing>, Failure> {
    let mut admin = client.connect().await?;
    let listed = admin.list_replicas(request(ListReplicasRequest {})).await;
    let items = listed.map_err(failure)?.into_inner().items;
    let sealing = items
        .iter()
        .find(|it| it.name == name)
        .and_then(Sealing::of);
    Ok(sealing.filter(|sealing| sealing.of > 0))
}

impl Ended {
    pub(super) fn sealed(name: String, wire: SealReplicaResponse) -> Self {
        Self {
            name,
            state: "sealed",
            was_sealed: Some(wire.was_sealed),
            log_id: Some(format!("{:06x}", wire.log_id)),
            size: Some(wire.size),
            root_hash: Some(wire.root_hash),
            since: time(wire.since),
            folder: filled(wire.folder).map(PathBuf::from),
        }
    }

    pub(super) fn withdrawn(name: String) -> Self {
        Self {
            name,
            state: "withdrawn",
            was_sealed: None,
            log_id: None,
            size: None,
            root_hash: None,
            since: None,
            folder: None,
        }
    }

    pub(super) fn text(&self, called: &Called) -> String {
        let name = &self.name;
        let (Some(log_id), Some(size)) = (&self.log_id, self.size) else {
            return format!("{name} cannot join any more: its invitation is withdrawn");
        };
        let since = self.since.map(to_the_second).unwrap_or_default();
        let told = match self.was_sealed {
            Some(true) => format!("{name} was sealed before, at {since}"),
            _ => format!(
                "{name} is sealed, at {since}: it issues nothing any more, and what it issued stays valid"
            ),
        };
        let (entries, root) = (many(size, "entry", "entries"), self.root_hash.as_deref());
        let log = format!(
            "its log {log_id} has {entries}, root {}",
            root.unwrap_or("-")
        );
        let tiles = match &self.folder {
            None => format!(
                "its tiles are not at the one that answered: see `{}`",
                called.command("replica list")
            ),
            Some(folder) => format!("its tiles are in {}, for auditors", folder.display()),
        };
        format!("{told}\n{log}\n{tiles}")
    }
}
