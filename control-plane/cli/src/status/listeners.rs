//! How full the listeners are, as `countersign status` shows it.

use countersign_proto::admin::ListenerStatus;
use serde::Serialize;

use crate::output::{cell, table};

/// How full a listener is; a bound of 0 is that of a kind of places which it does not have.
#[derive(Debug, Serialize)]
pub(super) struct Listener {
    listener: String,
    connections: u64,
    bound: u64,
    strangers: u64,
    strangers_bound: u64,
    handshakes: u64,
    handshakes_bound: u64,
    turned_away: u64,
}

impl From<ListenerStatus> for Listener {
    fn from(wire: ListenerStatus) -> Self {
        Self {
            listener: wire.name,
            connections: wire.connections,
            bound: wire.bound,
            strangers: wire.strangers,
            strangers_bound: wire.strangers_bound,
            handshakes: wire.handshakes,
            handshakes_bound: wire.handshakes_bound,
            turned_away: wire.turned_away,
        }
    }
}

/// The section with its empty line; nothing of a control plane that does not tell.
pub(super) fn text(listeners: &[Listener]) -> String {
    if listeners.is_empty() {
        return String::new();
    }
    let header = [
        "LISTENER",
        "CONNECTIONS",
        "BOUND",
        "STRANGERS",
        "TURNED AWAY",
    ];
    let rows = listeners.iter().map(|it| {
        let strangers = format!("{} of {}", it.strangers, it.strangers_bound);
        [
            it.listener.clone(),
            it.connections.to_string(),
            it.bound.to_string(),
            cell(Some(strangers).filter(|_| it.strangers_bound > 0)),
            it.turned_away.to_string(),
        ]
    });
    format!("\n\n{}", table(header, rows, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_fit_a_terminal() {
        let full = ListenerStatus {
            name: "api".to_owned(),
            connections: 16_384,
            bound: 16_384,
            strangers: 1_024,
            strangers_bound: 1_024,
            handshakes: 7,
            handshakes_bound: 1_024,
            turned_away: u64::MAX,
        };
        let admin = ListenerStatus {
            name: "admin".to_owned(),
            bound: 256,
            ..ListenerStatus::default()
        };
        let text = text(&[full.into(), admin.into()]);
        let lines: Vec<_> = text.trim_start().lines().collect();
        assert!(lines[1].contains("1024 of 1024"), "{text}");
        assert!(
            lines[2].contains("admin") && lines[2].contains(" - "),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= 100), "{text}");
    }

    #[test]
    fn older_control_plane_tells_no_places() {
        assert_eq!(text(&[]), "");
    }
}
