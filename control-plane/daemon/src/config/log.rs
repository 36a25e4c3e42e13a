//! `[log]`: how this process logs.

use countersign_cli::{Key, Reader};
use serde::Serialize;

const FORMAT: Key = Key::new(
    "log.format",
    "The form of a log line on stderr: a JSON object, or text for people. With `auto` it is text on a \
     terminal, and JSON elsewhere.",
);
const FILTER: Key = Key::new(
    "log.filter",
    "Which lines are written: `error`, `warn`, `info`, `debug` or `trace`, also for one crate, as in \
     `info,countersign_control_plane=debug`.",
)
.of("filter directives");

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text where stderr is a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl LogFormat {
    /// Whether this process writes JSON.
    pub fn is_json(self) -> bool {
        match self {
            Self::Auto => countersign_telemetry::json_suits(),
            Self::Json => true,
            Self::Text => false,
        }
    }
}

/// How this process logs, to stderr.
#[derive(Clone, Debug, Serialize)]
pub struct Log {
    /// `format`: `auto` (the default), `json` or `text`.
    pub format: LogFormat,
    /// `filter`: directives such as `info` or `countersign_control_plane=debug`.
    pub filter: String,
}

impl Log {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let choices = [
            ("auto", LogFormat::Auto),
            ("json", LogFormat::Json),
            ("text", LogFormat::Text),
        ];
        let remedy = "write \"json\", \"text\", or \"auto\" for text on a terminal alone";
        let format = reader.choice(&FORMAT, LogFormat::Auto, &choices, remedy);
        let remedy = "write \"info\" or \"debug\"";
        let filter = reader.text(&FILTER, "info", remedy, |text| {
            countersign_telemetry::check_filter(text).map_err(|error| error.to_string())
        });
        Self { format, filter }
    }
}
