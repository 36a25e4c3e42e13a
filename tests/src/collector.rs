//! A collector of traces, as operators run one.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    spans: Spans,
    _server: AbortOnDropHandle<()>,
}

#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// On a free port of loopback.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let spans = Spans::default();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(spans.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { drop(server.await) });
        Ok(Self {
            endpoint,
            spans,
            _server: AbortOnDropHandle::new(server),
        })
    }

    /// Where traces are sent.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The names of the spans of each trace that has arrived, in alphabetical order.
    pub fn traces(&self) -> Vec<Vec<String>> {
        let spans = self.spans.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut traces = std::collections::BTreeMap::<_, Vec<String>>::new();
        for span in spans.iter() {
            let names = traces.entry(span.trace_id.clone()).or_default();
            names.push(span.name.clone());
            names.sort();
        }
        traces.into_values().collect()
    }
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let arrived = scopes.flat_map(|scope| scope.spans);
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.extend(arrived);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
