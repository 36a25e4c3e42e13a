//! One line for each request or connection: who was served, and under which certificate.

use super::Protocol;
use super::bootstrap::{Bootstrap, Peers};
use super::tree::{Tree, list, map, typed};

impl Bootstrap<'_> {
    /// What was served to whom, and under which certificate.
    pub(super) fn access_log(&self) -> Tree {
        let fields: &[(&str, &str)] = match self.peers {
            Peers::Inbound { .. } => &[
                ("peer", "%DOWNSTREAM_PEER_URI_SAN%"),
                ("peer_serial", "%DOWNSTREAM_PEER_SERIAL%"),
                ("peer_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
            ],
            Peers::Outbound { .. } => &[
                ("peer", "%UPSTREAM_PEER_URI_SAN%"),
                ("peer_address", "%UPSTREAM_REMOTE_ADDRESS%"),
                ("failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
            ],
        };
        let http: &[(&str, &str)] = match self.protocol {
            Protocol::Http => &[
                ("method", "%REQ(:METHOD)%"),
                ("path", "%REQ(:PATH)%"),
                ("status", "%RESPONSE_CODE%"),
            ],
            Protocol::Tcp => &[],
        };
        let always = [
            ("start_time", "%START_TIME%"),
            ("flags", "%RESPONSE_FLAGS%"),
            ("details", "%RESPONSE_CODE_DETAILS%"),
        ];
        let all = always.iter().chain(fields).chain(http);
        let mut format = map([]);
        for (name, value) in all {
            format = format.with(name, Tree::from(*value));
        }
        let format = map([("json_format", format)]);
        let (name, config) = match self.access_log {
            Some(path) => (
                "envoy.access_loggers.file",
                typed(
                    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    [("path", path.to_string_lossy().into_owned().into())],
                ),
            ),
            None => (
                "envoy.access_loggers.stdout",
                typed(
                    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                    [],
                ),
            ),
        };
        list([map([
            ("name", name.into()),
            ("typed_config", config.with("log_format", format)),
        ])])
    }
}
