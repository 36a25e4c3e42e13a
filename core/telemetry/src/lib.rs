//! Logs and traces of a process: JSON or text to stderr, OTLP where configured. A reader of stderr
//! that stands still stops nothing.
//!
//! Spans are made by the daemons (`attest`, `authorize`, `sign`, `publish`, `install`); here they
//! are only sent. JSON lines do not show them: where nobody sees them they are not made.
//! Metrics live with what they count, in each daemon.
//!
//! A line that a peer can cause is written with [`peer_line!`]: see [`peer_lines`]. What the libraries
//! that we use log is limited as well: see the module `libraries`.

mod libraries;
mod one_line;
pub mod peer_lines;
mod queue;
mod series;

use std::io::{IsTerminal as _, Write, stderr};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::task::JoinHandle;
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::one_line::OneLine;
pub use crate::peer_lines::Principal;
use crate::queue::Lines;
pub use crate::queue::{FLUSH_DEADLINE, MAX_QUEUED_BYTES};
pub use crate::series::LogSeries;
/// For [`peer_line!`].
#[doc(hidden)]
pub use tracing;

/// How long the last spans may take to leave when a process ends.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);
/// How long one export may take.
pub const EXPORT_DEADLINE: Duration = Duration::from_secs(5);

/// How a process logs and traces.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the service in traces.
    pub service: &'static str,
    /// JSON lines instead of text.
    pub json: bool,
    /// Filter directives, such as `info` or `countersign_sidecar=debug`.
    pub filter: String,
    /// OTLP gRPC endpoint; `None`: no traces are exported.
    pub otlp_endpoint: Option<String>,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("telemetry: {0}")]
pub struct TelemetryError(String);

/// Flushes and ends the exporter when asked; when it is dropped the last lines are written, within
/// [`FLUSH_DEADLINE`].
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
    summaries: JoinHandle<()>,
    lines: Lines,
}

impl Telemetry {
    /// Installs the global subscriber; inside the tokio runtime, once.
    ///
    /// # Errors
    /// A filter that does not parse, an exporter that cannot be built, a second call.
    pub fn install(settings: &Settings) -> Result<Self, TelemetryError> {
        let filter = libraries::filter(&settings.filter).map_err(failed)?;
        let provider = match &settings.otlp_endpoint {
            Some(endpoint) => Some(exporting(settings.service, endpoint)?),
            None => None,
        };
        let queue = Lines::into(stderr()).map_err(failed)?;
        let writer = queue.clone();
        subscriber(filter, settings.json, provider.as_ref(), move || {
            writer.clone()
        })
        .try_init()
        .map_err(failed)?;
        let summaries = tokio::spawn(peer_lines::summarize());
        Ok(Self {
            provider,
            summaries,
            lines: queue,
        })
    }

    /// Sends what is left, within [`SHUTDOWN_DEADLINE`].
    pub async fn shutdown(mut self) {
        self.summaries.abort();
        peer_lines::tell_left_out();
        let Some(provider) = self.provider.take() else {
            return;
        };
        // Ending the exporter blocks; on a runtime thread it could wait for itself.
        let end = move || provider.shutdown_with_timeout(SHUTDOWN_DEADLINE);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(end).await {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.lines.flush_within_deadline();
    }
}

/// Whether lines are rather JSON where nobody said so: on a terminal people read them.
pub fn json_suits() -> bool {
    !stderr().is_terminal()
}

/// Whether a filter parses, without installing anything: for a check of a configuration.
///
/// # Errors
/// A filter that does not parse.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    libraries::filter(filter).map(drop).map_err(failed)
}

/// All that becomes of an event or a span.
fn subscriber<W: Write + 'static>(
    filter: EnvFilter,
    json: bool,
    provider: Option<&SdkTracerProvider>,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let seen = provider.is_some() || !json;
    let traces =
        provider.map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("")));
    Registry::default()
        .with(filter)
        .with(libraries::Limited)
        .with(lines(json, writer))
        .with(traces)
        .with((!seen).then(no_spans))
}

fn exporting(service: &'static str, endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_DEADLINE)
        .build()
        .map_err(failed)?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// JSON lines do not show spans: where nobody else sees them they are not made.
fn no_spans() -> FilterFn {
    filter_fn(|metadata| !metadata.is_span())
}

fn lines<S, W: Write + 'static>(
    json: bool,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(move || OneLine(writer()));
    if json {
        let lines = lines.json().flatten_event(true);
        lines.with_current_span(false).with_span_list(false).boxed()
    } else {
        lines.with_ansi(false).boxed()
    }
}

fn failed(error: impl std::fmt::Display) -> TelemetryError {
    TelemetryError(error.to_string())
}

#[cfg(test)]
mod tests;
