//! `[telemetry]`: probes, metrics and traces.

use std::net::SocketAddr;

use countersign_cli::Reader;
use serde::Serialize;

/// What the control plane tells about itself, and where.
#[derive(Clone, Debug, Serialize)]
pub struct Telemetry {
    /// `listen`: `/livez`, `/readyz` and `/metrics`, on loopback only.
    pub listen: SocketAddr,
    /// `otlp_endpoint`: where traces go by OTLP over gRPC; absent: nowhere.
    pub otlp_endpoint: Option<String>,
}

impl Telemetry {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let default = SocketAddr::from(([127, 0, 0, 1], 9464));
        let listen = reader.address("telemetry.listen", Some(default));
        if listen.is_some_and(|address| !address.ip().is_loopback()) {
            reader.mistake(
                "telemetry.listen",
                "the metrics are not protected and the address is not loopback",
                "use 127.0.0.1 or [::1]",
            );
        }
        let otlp_endpoint = reader.optional(
            "telemetry.otlp_endpoint",
            "write a URL such as \"http://127.0.0.1:4317\"",
            |text| endpoint(text).ok_or_else(|| "is no http or https URL".to_owned()),
        );
        Some(Self {
            listen: listen?,
            otlp_endpoint,
        })
    }
}

fn endpoint(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok()?;
    let fits = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    fits.then(|| text.to_owned())
}
