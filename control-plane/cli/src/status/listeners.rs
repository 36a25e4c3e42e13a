//! How full the listeners are, as `countersign status` shows it.

use countersign_proto::admin::ListenerStatus;
use serde::Serialize;

use crate::output::Printable;
use crate::table::look::Look;
use crate::table::places::{self, Places, Taken};

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
    let of = |taken, bound| Taken { taken, bound };
    let rows = listeners.iter().map(|it| Places {
        listener: &it.listener,
        connections: of(it.connections, it.bound),
        strangers: of(it.strangers, it.strangers_bound),
        handshakes: of(it.handshakes, it.handshakes_bound),
        turned_away: it.turned_away,
    });
    places::table(rows, look)
}
