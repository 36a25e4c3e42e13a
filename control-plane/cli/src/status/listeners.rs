//! How full the listeners are, as `countersign status` shows it.

use countersign_proto::admin::ListenerStatus;
use serde::Serialize;

use crate::output::Printable;
use crate::table::look::Look;
use crate::table::{Cell, Keep, Table, Tone};

/// How full a listener is; a bound of 0 is that of a kind of places which it does not have.
#[derive(Debug, Serialize)]
pub(crate) struct Listener {
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

/// Nothing of a control plane that does not tell.
pub(super) fn table(listeners: &[Listener], look: Look) -> Printable {
    let of = |taken: u64, bound: u64| {
        let text = format!("{taken} of {bound}");
        let tone = if taken < bound {
            Tone::Plain
        } else {
            Tone::Bad
        };
        match bound {
            0 => Cell::from("-"),
            _ => Cell::toned(text, tone),
        }
    };
    let rows = listeners.iter().map(|it| {
        [
            it.listener.as_str().into(),
            of(it.connections, it.bound),
            of(it.strangers, it.strangers_bound),
            it.turned_away.to_string().into(),
            of(it.handshakes, it.handshakes_bound),
        ]
    });
    let table = Table::new([
        ("LISTENER", Keep::Always),
        ("CONNECTIONS", Keep::Always),
        ("STRANGERS", Keep::Unless(1)),
        ("TURNED AWAY", Keep::Unless(2)),
        ("HANDSHAKES", Keep::Wide),
    ]);
    table.with(rows).render(look, "")
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
        let look = Look {
            width: Some(60),
            ..Look::default()
        };
        let text = table(&[full.into(), admin.into()], look).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].contains("1024 of 1024"), "{text}");
        assert!(
            lines[2].contains("admin") && lines[2].contains(" - "),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= 60), "{text}");
    }

    #[test]
    fn older_control_plane_tells_no_places() {
        assert_eq!(table(&[], Look::default()), Printable::default());
    }
}
