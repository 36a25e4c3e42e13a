//! `[log]`: how this process logs.

use countersign_cli::Reader;
use serde::Serialize;

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// How this process logs, to stderr.
#[derive(Clone, Debug, Serialize)]
pub struct Log {
    /// `format`: `json` (the default) or `text`.
    pub format: LogFormat,
    /// `filter`: directives such as `info` or `countersign_control_plane=debug`.
    pub filter: String,
}

impl Log {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let format = reader.optional(
            "log.format",
            "write \"json\" or \"text\"",
            |text| match text {
                "json" => Ok(LogFormat::Json),
                "text" => Ok(LogFormat::Text),
                _ => Err("is no log format".to_owned()),
            },
        );
        let filter = reader.optional("log.filter", "write \"info\" or \"debug\"", |text| {
            countersign_telemetry::check_filter(text).map_err(|error| error.to_string())?;
            Ok(text.to_owned())
        });
        Self {
            format: format.unwrap_or(LogFormat::Json),
            filter: filter.unwrap_or_else(|| "info".to_owned()),
        }
    }
}
