//! A raw SDS subscriber, for what Envoy does not show.

use std::path::Path;

use anyhow::{Context, Result};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use countersign_proto::sds::secret_discovery_service_client::SecretDiscoveryServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::workload::channel;

/// Requests that may wait to be sent.
const REQUESTS: usize = 1_024;

/// A delta stream.
#[derive(Debug)]
pub struct Delta {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    /// Opens a stream and subscribes.
    ///
    /// # Errors
    /// The stream is refused.
    pub async fn open(socket: &Path, names: &[String]) -> Result<Self> {
        let (requests, outgoing) = mpsc::channel(REQUESTS);
        requests.send(subscribe(names)).await?;
        let responses = SecretDiscoveryServiceClient::new(channel(socket)?)
            .delta_secrets(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
        })
    }

    /// Subscribes to further names.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn subscribe(&self, names: &[String]) -> Result<()> {
        Ok(self.requests.send(subscribe(names)).await?)
    }

    /// The next response, which is acknowledged.
    ///
    /// # Errors
    /// The stream ended.
    pub async fn next(&mut self) -> Result<DeltaDiscoveryResponse> {
        let response = self
            .responses
            .message()
            .await?
            .context("the stream ended")?;
        let acknowledgement = DeltaDiscoveryRequest {
            type_url: SECRET_TYPE.to_owned(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(acknowledgement).await?;
        Ok(response)
    }

    /// Waits for a resource of this name; gives its version.
    ///
    /// # Errors
    /// The stream ended.
    pub async fn resource(&mut self, name: &str) -> Result<String> {
        loop {
            let response = self.next().await?;
            let found = response.resources.into_iter().find(|r| r.name == name);
            if let Some(resource) = found {
                return Ok(resource.version);
            }
        }
    }
}

fn subscribe(names: &[String]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: SECRET_TYPE.to_owned(),
        resource_names_subscribe: names.to_vec(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// Asks once for these names.
///
/// # Errors
/// The status that the server answered.
pub async fn fetch(socket: &Path, names: &[&str]) -> Result<DiscoveryResponse, tonic::Status> {
    let channel = channel(socket).map_err(|error| tonic::Status::internal(error.to_string()))?;
    let request = DiscoveryRequest {
        type_url: SECRET_TYPE.to_owned(),
        resource_names: names.iter().map(|&name| name.to_owned()).collect(),
        ..DiscoveryRequest::default()
    };
    let mut client = SecretDiscoveryServiceClient::new(channel);
    Ok(client.fetch_secrets(request).await?.into_inner())
}
