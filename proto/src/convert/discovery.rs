//! Discovery requests and responses, in all three dialects.
//!
//! The bounds on names are the session's ([`Limits`](countersign_discovery::Limits)); a request
//! converts by moving what was decoded, so nothing grows here.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_discovery::{
    DeltaRequest, DeltaResponse, Nack, Resource, StateRequest, StateResponse,
};
use prost_types::Any;

use super::{ConvertError, Problem};
use crate::discovery as wire;

/// Longest nonce and version that are kept; ours are far shorter, so a longer one is not ours.
pub const MAX_TOKEN_BYTES: usize = 256;
/// Most resources and removals of one response.
pub const MAX_RESPONSE_RESOURCES: usize = 16_384;

impl From<wire::DeltaDiscoveryRequest> for DeltaRequest {
    fn from(request: wire::DeltaDiscoveryRequest) -> Self {
        let initial_versions: BTreeMap<_, _> =
            request.initial_resource_versions.into_iter().collect();
        Self {
            type_url: request.type_url,
            subscribe: request.resource_names_subscribe,
            unsubscribe: request.resource_names_unsubscribe,
            initial_versions,
            response_nonce: token(request.response_nonce),
            nack: request.error_detail.map(nack),
        }
    }
}

impl From<DeltaRequest> for wire::DeltaDiscoveryRequest {
    fn from(request: DeltaRequest) -> Self {
        Self {
            type_url: request.type_url,
            resource_names_subscribe: request.subscribe,
            resource_names_unsubscribe: request.unsubscribe,
            initial_resource_versions: request.initial_versions.into_iter().collect(),
            response_nonce: request.response_nonce,
            error_detail: request.nack.as_ref().map(error_detail),
        }
    }
}

impl From<wire::DiscoveryRequest> for StateRequest {
    fn from(request: wire::DiscoveryRequest) -> Self {
        Self {
            type_url: request.type_url,
            version_info: token(request.version_info),
            names: request.resource_names,
            response_nonce: token(request.response_nonce),
            nack: request.error_detail.map(nack),
        }
    }
}

impl From<StateRequest> for wire::DiscoveryRequest {
    fn from(request: StateRequest) -> Self {
        Self {
            type_url: request.type_url,
            version_info: request.version_info,
            resource_names: request.names,
            response_nonce: request.response_nonce,
            error_detail: request.nack.as_ref().map(error_detail),
        }
    }
}

impl From<StateResponse> for wire::DiscoveryResponse {
    fn from(response: StateResponse) -> Self {
        Self {
            version_info: response.version_info,
            resources: response.resources.iter().map(any).collect(),
            type_url: response.type_url,
            nonce: response.nonce,
        }
    }
}

impl From<DeltaResponse> for wire::DeltaDiscoveryResponse {
    fn from(response: DeltaResponse) -> Self {
        Self {
            system_version_info: response.system_version,
            resources: response.resources.iter().map(Into::into).collect(),
            type_url: response.type_url,
            nonce: response.nonce,
            removed_resources: response.removed,
        }
    }
}

impl From<&Resource> for wire::Resource {
    fn from(resource: &Resource) -> Self {
        Self {
            version: resource.version.to_string(),
            resource: Some(any(resource)),
            name: resource.name.to_string(),
        }
    }
}

impl TryFrom<wire::DeltaDiscoveryResponse> for DeltaResponse {
    type Error = ConvertError;

    fn try_from(response: wire::DeltaDiscoveryResponse) -> Result<Self, ConvertError> {
        bound("nonce", response.nonce.len(), MAX_TOKEN_BYTES)?;
        let version_bytes = response.system_version_info.len();
        bound("system_version_info", version_bytes, MAX_TOKEN_BYTES)?;
        bound(
            "resources",
            response.resources.len(),
            MAX_RESPONSE_RESOURCES,
        )?;
        let removed = response.removed_resources.len();
        bound("removed_resources", removed, MAX_RESPONSE_RESOURCES)?;
        let resources: Result<_, _> = response
            .resources
            .into_iter()
            .map(TryInto::try_into)
            .collect();
        Ok(Self {
            type_url: response.type_url,
            system_version: response.system_version_info,
            nonce: response.nonce,
            resources: resources?,
            removed: response.removed_resources,
        })
    }
}

impl TryFrom<wire::Resource> for Resource {
    type Error = ConvertError;

    fn try_from(resource: wire::Resource) -> Result<Self, ConvertError> {
        let any = resource.resource.ok_or(Problem::Missing.of("resource"))?;
        if resource.name.is_empty() {
            return Err(Problem::Missing.of("name"));
        }
        if resource.version.is_empty() {
            return Err(Problem::Missing.of("version"));
        }
        bound("version", resource.version.len(), MAX_TOKEN_BYTES)?;
        let body = Bytes::from(any.value);
        Ok(Self::versioned(
            &any.type_url,
            &resource.name,
            &resource.version,
            body,
        ))
    }
}

fn bound(field: &'static str, length: usize, limit: usize) -> Result<(), ConvertError> {
    if length > limit {
        return Err(Problem::TooLong { limit }.of(field));
    }
    Ok(())
}

/// A nonce or version as it came; one that is too long to be ours is the same as none.
fn token(text: String) -> String {
    if text.len() > MAX_TOKEN_BYTES {
        return String::new();
    }
    text
}

fn any(resource: &Resource) -> Any {
    Any {
        type_url: resource.type_url.to_string(),
        value: resource.body.to_vec(),
    }
}

/// Here the text of a refusal is cut: it can hold a private key. By value, so that the handler
/// keeps no other copy.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the raw text must not outlive this call"
)]
fn nack(detail: wire::ErrorDetail) -> Nack {
    Nack::redact(&detail.message)
}

fn error_detail(nack: &Nack) -> wire::ErrorDetail {
    wire::ErrorDetail {
        code: CODE_INTERNAL,
        message: nack.to_string(),
    }
}

/// google.rpc.Code INTERNAL: what Envoy puts into its own NACKs.
const CODE_INTERNAL: i32 = 13;
