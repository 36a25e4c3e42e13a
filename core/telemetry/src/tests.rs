use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::*;

struct Collector(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let sent = self.0.send(request.into_inner()).await;
        sent.map_err(|_| Status::cancelled("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn settings(otlp_endpoint: Option<String>) -> Settings {
    Settings {
        service: "countersign-test",
        json: true,
        filter: "info".into(),
        otlp_endpoint,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_the_collector_before_shutdown_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut requests) = mpsc::channel(8);
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Collector(sender)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);

    let telemetry = Telemetry::install(&settings(Some(endpoint))).unwrap();
    tracing::info_span!("attest", spiffe_id = "spiffe://example.org/node/a").in_scope(|| {});
    telemetry.shutdown().await;

    let request = timeout(Duration::from_secs(10), requests.recv());
    let request = request.await.unwrap().unwrap();
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(spans[0].name, "attest");
    assert!(Telemetry::install(&settings(None)).is_err());
}

#[tokio::test]
async fn a_filter_that_does_not_parse_is_an_error() {
    let broken = Settings {
        filter: "countersign=loud=very".into(),
        ..settings(None)
    };
    assert!(Telemetry::install(&broken).is_err());
}
