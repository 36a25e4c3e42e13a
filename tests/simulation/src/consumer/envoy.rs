//! An Envoy: it asks for names, and acknowledges what it took or says why it did not.

use countersign_envoy::{SECRET_TYPE, read_trusted_ca};
use countersign_proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, ErrorDetail,
};
use countersign_proto::sds::secret_discovery_service_client::SecretDiscoveryServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;

use super::{Event, Process, Refusal, reading};

/// The name of the bundle.
const TRUST_DOMAIN: &str = "spiffe://example.org";
/// Of so many bundles, and of so many certificates, one is refused.
const BUNDLES_OF_ONE_REFUSED: u8 = 4;
const CERTIFICATES_OF_ONE_REFUSED: u8 = 20;

impl Process {
    pub(super) async fn delta(&mut self, channel: Channel) -> Result<(), Refusal> {
        let (requests, outbox) = mpsc::unbounded_channel();
        requests.send(DeltaDiscoveryRequest {
            type_url: SECRET_TYPE.to_owned(),
            resource_names_subscribe: self.names(),
            initial_resource_versions: self.held.clone().into_iter().collect(),
            ..DeltaDiscoveryRequest::default()
        })?;
        let mut client = SecretDiscoveryServiceClient::new(channel);
        let outbox = UnboundedReceiverStream::new(outbox);
        let mut responses = client.delta_secrets(outbox).await?.into_inner();
        self.note(Event::Connected);
        while let Some(response) = responses.message().await? {
            self.hesitate().await;
            let error_detail = self.refuses(&response);
            if error_detail.is_none() {
                self.take_changes(&response);
            }
            requests.send(DeltaDiscoveryRequest {
                type_url: SECRET_TYPE.to_owned(),
                response_nonce: response.nonce,
                error_detail,
                ..DeltaDiscoveryRequest::default()
            })?;
        }
        Ok(())
    }

    pub(super) async fn state(&mut self, channel: Channel) -> Result<(), Refusal> {
        let (requests, outbox) = mpsc::unbounded_channel();
        let mut asked = DiscoveryRequest {
            resource_names: self.names(),
            type_url: SECRET_TYPE.to_owned(),
            ..DiscoveryRequest::default()
        };
        requests.send(asked.clone())?;
        let mut client = SecretDiscoveryServiceClient::new(channel);
        let outbox = UnboundedReceiverStream::new(outbox);
        let mut responses = client.stream_secrets(outbox).await?.into_inner();
        self.note(Event::Connected);
        while let Some(response) = responses.message().await? {
            self.hesitate().await;
            asked.error_detail = self.refuses_one_of(response.resources.len());
            if asked.error_detail.is_none() {
                self.take_state(&response);
                asked.version_info = response.version_info;
            }
            asked.response_nonce = response.nonce;
            requests.send(asked.clone())?;
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let bundle = std::iter::once(TRUST_DOMAIN.to_owned());
        bundle.chain(self.identities.iter().cloned()).collect()
    }

    fn refuses(&mut self, response: &DeltaDiscoveryResponse) -> Option<ErrorDetail> {
        let mut resources = response.resources.iter();
        let has_bundle = resources.any(|resource| resource.name == TRUST_DOMAIN);
        // What is taken away is not refused.
        let has_removed = !response.removed_resources.is_empty();
        match has_bundle {
            _ if has_removed => None,
            true => self.refuses_one_in(BUNDLES_OF_ONE_REFUSED),
            false => self.refuses_one_in(CERTIFICATES_OF_ONE_REFUSED),
        }
    }

    fn refuses_one_of(&mut self, resources: usize) -> Option<ErrorDetail> {
        match resources {
            0 => None,
            _ => self.refuses_one_in(BUNDLES_OF_ONE_REFUSED * 2),
        }
    }

    fn refuses_one_in(&mut self, count: u8) -> Option<ErrorDetail> {
        let refuses = self.random.u8(0..count) == 0 && !self.is_calm();
        refuses.then(|| {
            self.note(Event::Refused);
            ErrorDetail {
                code: 13,
                message: "refused by chance".to_owned(),
            }
        })
    }

    fn take_changes(&mut self, response: &DeltaDiscoveryResponse) {
        for resource in &response.resources {
            let body = resource.resource.as_ref().map_or(&[][..], |any| &any.value);
            self.held
                .insert(resource.name.clone(), resource.version.clone());
            self.take(&resource.name, body);
        }
        for name in &response.removed_resources {
            if self.held.remove(name).is_some() {
                self.note(Event::Lost(name.clone()));
            }
        }
    }

    /// The name of each is in its body.
    fn take_state(&mut self, response: &DiscoveryResponse) {
        for resource in &response.resources {
            let body = &resource.value;
            let is_of = |id: &String| contains(body, id.as_bytes());
            match self.identities.iter().find(|id| is_of(id)).cloned() {
                Some(id) => self.take(&id, body),
                None => self.take(TRUST_DOMAIN, body),
            }
        }
    }

    fn take(&mut self, name: &str, body: &[u8]) {
        let taken = match name == TRUST_DOMAIN {
            true => read_trusted_ca(body)
                .map_err(anyhow::Error::from)
                .and_then(reading::bundle)
                .map(Event::Trusts),
            false => reading::secret(name, body).map(|taken| Event::Took(name.to_owned(), taken)),
        };
        self.note(taken.unwrap_or_else(|error| Event::Unusable(format!("{name}: {error:#}"))));
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|window| window == text)
}
