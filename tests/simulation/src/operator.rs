//! The operator: calls of the admin API, over a connection to the control plane's socket.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use countersign_proto::admin::admin_client::AdminClient;
use countersign_proto::admin::{
    CaStatusRequest, CreateTokenRequest, EvictNodeRequest, InviteReplicaRequest, ListRequest,
    RegisterMode, RegisterRequest, Registration, RotateRequest, SealReplicaRequest,
    ShowBundleRequest, UnregisterRequest, WaiveRequest,
};
use countersign_verify::bundle::certificate_pem;
use hyper_util::rt::TokioIo;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use crate::network::End;

/// What is not answered within this time is given up.
const DEADLINE: Duration = Duration::from_secs(30);

/// What an operator says to the log.
const REASON: &str = "drawn by the seed";
/// Users of a node who have identities: this one and the next.
pub(crate) const FIRST_UID: u32 = 1_000;

/// A registration, by its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// SPIFFE ID of the node.
    pub(crate) node: String,
    /// The identity.
    pub(crate) id: String,
}

impl Key {
    pub(crate) fn of(node: &str, id: &str) -> Self {
        Self {
            node: node.to_owned(),
            id: id.to_owned(),
        }
    }
}

/// Whose identity it is: the number at its end is odd for one user of a node, and even for another.
pub(crate) fn uid_of(id: &str) -> u32 {
    let is_even = id.bytes().last().is_some_and(|digit| digit % 2 == 0);
    FIRST_UID + u32::from(is_even)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum NotDone {
    /// It said no: nothing has changed.
    Refused(Status),
    /// Nobody knows whether it was done.
    Unknown(String),
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => f.write_str(status.message()),
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

impl NotDone {
    fn of(status: Status) -> Self {
        match status.code() {
            Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists => Self::Refused(status),
            _ => Self::Unknown(format!("{:?}: {}", status.code(), status.message())),
        }
    }
}

/// A log that was sealed, as it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedLog {
    pub(crate) id: u32,
    pub(crate) size: u64,
    /// Its tiles, where they are at the one that answered.
    pub(crate) folder: Option<PathBuf>,
}

/// An operator with a connection.
pub(crate) struct Operator(AdminClient<Channel>);

impl Operator {
    /// Connects; `None`: nobody listens.
    pub(crate) async fn connect(end: Option<End>) -> Result<Self, NotDone> {
        let end = end.ok_or_else(|| NotDone::Unknown("nobody listens".to_owned()))?;
        let mut once = Some(TokioIo::new(end));
        let connector = tower::service_fn(move |_: Uri| {
            let io = once.take().ok_or(io::ErrorKind::NotConnected);
            std::future::ready(io.map_err(io::Error::from))
        });
        let endpoint = Endpoint::from_static("http://admin").timeout(DEADLINE);
        let channel = endpoint.connect_with_connector(connector).await;
        let channel = channel.map_err(|error| NotDone::Unknown(error.to_string()))?;
        Ok(Self(AdminClient::new(channel)))
    }

    /// The trust bundle, PEM.
    pub(crate) async fn bundle(&mut self) -> Result<String, NotDone> {
        let shown = self.0.show_bundle(ShowBundleRequest {}).await;
        let shown = shown.map_err(NotDone::of)?.into_inner();
        Ok(shown
            .roots
            .iter()
            .map(|root| certificate_pem(root))
            .collect())
    }

    /// A join token.
    pub(crate) async fn token(&mut self, node: String) -> Result<String, NotDone> {
        let ttl = prost_types::Duration {
            seconds: 3_600,
            nanos: 0,
        };
        let asked = CreateTokenRequest {
            node,
            ttl: Some(ttl),
        };
        let made = self.0.create_token(asked).await.map_err(NotDone::of)?;
        Ok(made.into_inner().token)
    }

    pub(crate) async fn register(&mut self, key: &Key) -> Result<(), NotDone> {
        let asked = RegisterRequest {
            registration: Some(Registration {
                id: key.id.clone(),
                node: key.node.clone(),
                selectors: vec![format!("unix:uid:{}", uid_of(&key.id))],
                owner: "team".to_owned(),
                ..Registration::default()
            }),
            mode: RegisterMode::Replace.into(),
            given: Vec::new(),
            dry_run: false,
        };
        let done = self.0.register(asked).await;
        done.map(drop).map_err(NotDone::of)
    }

    pub(crate) async fn unregister(&mut self, key: &Key) -> Result<(), NotDone> {
        let asked = UnregisterRequest {
            id: key.id.clone(),
            node: key.node.clone(),
        };
        let done = self.0.unregister(asked).await;
        done.map(drop).map_err(NotDone::of)
    }

    /// Every registration.
    pub(crate) async fn list(&mut self) -> Result<Vec<Key>, NotDone> {
        let listed = self.0.list(ListRequest::default()).await;
        let mut pages = listed.map_err(NotDone::of)?.into_inner();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let items = page.map_err(NotDone::of)?.items;
            keys.extend(
                items
                    .into_iter()
                    .map(|Registration { id, node, .. }| Key { node, id }),
            );
        }
        keys.sort();
        Ok(keys)
    }

    /// Invites a control plane: what it joins the others with.
    pub(crate) async fn invite(&mut self, name: &str) -> Result<String, NotDone> {
        let ttl = prost_types::Duration {
            seconds: 3_600,
            nanos: 0,
        };
        let asked = InviteReplicaRequest {
            name: name.to_owned(),
            ttl: Some(ttl),
        };
        let invited = self.0.invite_replica(asked).await;
        Ok(invited.map_err(NotDone::of)?.into_inner().invitation)
    }

    /// Seals the log of a control plane.
    pub(crate) async fn seal(&mut self, name: &str, force: bool) -> Result<SealedLog, NotDone> {
        let name = name.to_owned();
        let asked = SealReplicaRequest { name, force };
        let sealed = self.0.seal_replica(asked).await;
        let sealed = sealed.map_err(NotDone::of)?.into_inner();
        Ok(SealedLog {
            id: sealed.log_id,
            size: sealed.size,
            folder: (!sealed.folder.is_empty()).then(|| sealed.folder.into()),
        })
    }

    pub(crate) async fn evict(&mut self, node: String) -> Result<(), NotDone> {
        let asked = EvictNodeRequest {
            node,
            reason: REASON.to_owned(),
            ban: false,
        };
        let done = self.0.evict_node(asked).await;
        done.map(drop).map_err(NotDone::of)
    }

    /// Key identifiers of the roots that sign.
    pub(crate) async fn active_roots(&mut self) -> Result<Vec<String>, NotDone> {
        let status = self.0.ca_status(CaStatusRequest {}).await;
        let roots = status.map_err(NotDone::of)?.into_inner().roots.into_iter();
        let active = roots.filter(|root| root.state == "active");
        Ok(active.map(|root| root.key_id).collect())
    }

    /// Whom a root waits for.
    pub(crate) async fn laggards(&mut self) -> Result<Vec<String>, NotDone> {
        let status = self.0.ca_status(CaStatusRequest {}).await;
        Ok(status.map_err(NotDone::of)?.into_inner().waiting_for)
    }

    pub(crate) async fn waive(&mut self, consumer: String) -> Result<(), NotDone> {
        let asked = WaiveRequest {
            consumers: vec![consumer],
            reason: REASON.to_owned(),
            lasting: Some(prost_types::Duration {
                seconds: 60,
                nanos: 0,
            }),
            absent: false,
        };
        let done = self.0.waive(asked).await;
        done.map(drop).map_err(NotDone::of)
    }

    /// Begins to replace the issuing CA, or the root; its key identifier.
    pub(crate) async fn rotate(&mut self, is_root: bool) -> Result<String, NotDone> {
        let asked = Request::new(RotateRequest { wait: false });
        let begun = match is_root {
            true => self.0.rotate_root(asked).await,
            false => self.0.rotate_issuing(asked).await,
        };
        let mut progress = begun.map_err(NotDone::of)?.into_inner();
        let mut key_id = String::new();
        while let Some(step) = progress.next().await {
            key_id = step.map_err(NotDone::of)?.key_id;
        }
        Ok(key_id)
    }
}
