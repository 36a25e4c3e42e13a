//! The operator's API, for many registrations and tokens at a time.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use countersign_proto::admin::admin_client::AdminClient;
use countersign_proto::admin::{
    CreateTokenRequest, InviteReplicaRequest, RegisterRequest, Registration, RotateRequest,
    ShowBundleRequest, StatusRequest, StatusResponse,
};
use countersign_verify::certificate_pem;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::plane::until;
use super::{node_id, workload_id};

/// Calls under way at a time.
const AT_A_TIME: usize = 64;
const TOKEN_TTL_SECS: i64 = 24 * 3_600;
const INVITATION_TTL_SECS: i64 = 3_600;

/// A connection to the operator's socket.
#[derive(Clone, Debug)]
pub struct Admin(AdminClient<Channel>);

impl Admin {
    /// Connects once the socket is there.
    ///
    /// # Errors
    /// It is not there in time.
    pub async fn connect(socket: &Path, deadline: Duration) -> Result<Self> {
        let channel = until(deadline, async || {
            let socket = socket.to_owned();
            let dial = tower::service_fn(move |_: Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            let endpoint = Endpoint::from_static("http://countersign.invalid");
            Ok(endpoint.connect_with_connector(dial).await?)
        });
        Ok(Self(AdminClient::new(channel.await?)))
    }

    /// Where sidecars connect.
    ///
    /// # Errors
    /// The control plane does not answer.
    pub async fn api_address(&self) -> Result<SocketAddr> {
        Ok(self.status().await?.api_address.parse()?)
    }

    /// What it says of itself, without the nodes.
    ///
    /// # Errors
    /// The control plane does not answer.
    pub async fn status(&self) -> Result<StatusResponse> {
        let status = self.0.clone().status(StatusRequest::default()).await?;
        let first = status.into_inner().message().await?;
        first.context("a status without a message")
    }

    /// What a new control plane joins with.
    ///
    /// # Errors
    /// It was refused.
    pub async fn invite(&self, name: &str) -> Result<String> {
        let request = InviteReplicaRequest {
            name: name.to_owned(),
            ttl: Some(seconds(INVITATION_TTL_SECS)),
        };
        let invited = self.0.clone().invite_replica(request).await?;
        Ok(invited.into_inner().invitation)
    }

    /// Prepares a new root: the bundle of everybody changes.
    ///
    /// # Errors
    /// It was refused.
    pub async fn prepare_root(&self) -> Result<()> {
        let request = RotateRequest { wait: false };
        let mut progress = self.0.clone().rotate_root(request).await?.into_inner();
        while progress.message().await?.is_some() {}
        Ok(())
    }

    /// Registers workloads on nodes, given as pairs of numbers, and returns their entitlements in
    /// the same order.
    ///
    /// # Errors
    /// One was refused.
    pub async fn register(
        &self,
        pairs: impl Iterator<Item = (usize, usize)>,
    ) -> Result<Vec<String>> {
        self.register_for(None, pairs).await
    }

    /// As [`register`](Self::register), with a lifetime of their certificates; also of those that
    /// are registered already.
    ///
    /// # Errors
    /// One was refused.
    pub async fn register_for(
        &self,
        lifetime: Option<Duration>,
        pairs: impl Iterator<Item = (usize, usize)>,
    ) -> Result<Vec<String>> {
        let lifetime = lifetime.map(prost_types::Duration::try_from).transpose()?;
        let calls = pairs.map(|(node, workload)| {
            let mut client = self.0.clone();
            async move {
                let registration = Registration {
                    x509_ttl: lifetime,
                    ..registration(node, workload)
                };
                let answer = client
                    .register(RegisterRequest::whole(registration))
                    .await?;
                let registration = answer.into_inner().registration;
                anyhow::Ok(registration.context("no registration")?.entitlement)
            }
        });
        stream::iter(calls).buffered(AT_A_TIME).try_collect().await
    }

    /// Registers identities on node 0, each for the processes of one user.
    ///
    /// # Errors
    /// One was refused.
    pub async fn register_for_users(&self, identities: &[(String, u32)]) -> Result<()> {
        let calls = identities.iter().map(|(id, uid)| {
            let mut client = self.0.clone();
            let registration = Registration {
                id: id.clone(),
                selectors: vec![format!("unix:uid:{uid}")],
                ..registration(0, 0)
            };
            async move {
                let answer = client.register(RegisterRequest::whole(registration)).await;
                anyhow::Ok(answer.map(drop)?)
            }
        });
        stream::iter(calls).buffered(AT_A_TIME).try_collect().await
    }

    /// The trust bundle, as PEM.
    ///
    /// # Errors
    /// The control plane does not answer.
    pub async fn bundle(&self) -> Result<String> {
        let bundle = self.0.clone().show_bundle(ShowBundleRequest {}).await?;
        let roots = bundle.into_inner().roots.into_iter();
        Ok(roots.map(|der| certificate_pem(&der)).collect())
    }

    /// Join tokens for nodes, by number.
    ///
    /// # Errors
    /// One was refused.
    pub async fn tokens(&self, nodes: impl Iterator<Item = usize>) -> Result<Vec<String>> {
        let calls = nodes.map(|node| {
            let mut client = self.0.clone();
            async move {
                let request = CreateTokenRequest {
                    node: node_id(node),
                    ttl: Some(seconds(TOKEN_TTL_SECS)),
                };
                anyhow::Ok(client.create_token(request).await?.into_inner().token)
            }
        });
        stream::iter(calls).buffered(AT_A_TIME).try_collect().await
    }
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

fn registration(node: usize, workload: usize) -> Registration {
    Registration {
        id: workload_id(node, workload),
        node: node_id(node),
        selectors: vec!["unix:uid:1000".to_owned()],
        owner: "shop".to_owned(),
        ..Registration::default()
    }
}
