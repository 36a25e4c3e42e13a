//! The SPIFFE Workload API, X.509 profile, on the local socket (SPIFFE_Workload_API.md).
//!
//! Every message is the full state of one caller (section 5); the first comes at once, or as soon
//! as the credentials that the caller is entitled to are enrolled. A new one is sent only if its
//! content changed. Profiles that are not served answer UNIMPLEMENTED.

mod reply;
#[cfg(test)]
mod tests;
mod updates;

use std::sync::Arc;

use countersign_proto::codec::framed;
use countersign_proto::workload::spiffe_workload_api_server::SpiffeWorkloadApi;
use countersign_proto::workload::{
    X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
};
use countersign_serve::messages::{CallPayer, Unsaid, encoded};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::local_api::{LocalApi, local_caller};
use reply::Reply;
use updates::Updates;

/// Longest request: they are empty messages.
pub(crate) const MAX_REQUEST_BYTES: usize = 4_096;
const SECURITY_HEADER: &str = "workload.spiffe.io";

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadApi {
    api: Arc<LocalApi>,
}

impl WorkloadApi {
    /// A service over what the local socket shares.
    pub(crate) fn new(api: Arc<LocalApi>) -> Self {
        Self { api }
    }

    async fn open<R: Reply, T>(&self, request: &Request<T>) -> Result<Response<Unsaid<R>>, Status> {
        demand_security_header(request.metadata())?;
        let snapshot = self.api.holdings.load();
        let caller = self.api.attest(request, &snapshot).await?;
        let call = request.extensions();
        let cost = updates::StreamCost {
            permit: self.api.admit_stream(&caller, &snapshot)?,
            payer: CallPayer::of(call),
            local: local_caller(call)?.clone(),
        };
        let updates = Updates::open(self.api.clone(), caller, cost).await?;
        Ok(encoded(updates.into_messages(), framed))
    }
}

/// A browser or proxy that was tricked into calling the socket cannot set this header
/// (SPIFFE_Workload_Endpoint.md section 5).
fn demand_security_header(metadata: &MetadataMap) -> Result<(), Status> {
    let mut values = metadata.get_all(SECURITY_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value == "true" => Ok(()),
        _ => Err(Status::invalid_argument(
            "the metadata workload.spiffe.io: true is missing",
        )),
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = Unsaid<X509svidResponse>;
    type FetchX509BundlesStream = Unsaid<X509BundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        Box::pin(self.open(&request)).await
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        Box::pin(self.open(&request)).await
    }
}
