//! How full listeners are, as both daemons show it.

use super::{Cell, Keep, Look, Table, Tone};
use crate::printable::Printable;

/// How many places of a kind are taken, and how many there are: none of a kind that a listener does not
/// have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// How many are taken.
    pub taken: u64,
    /// How many there are.
    pub bound: u64,
}

/// The places of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Its name.
    pub listener: &'a str,
    /// Connections of whoever is recognised.
    pub connections: Taken,
    /// Connections of whoever is not.
    pub strangers: Taken,
    /// Connections of which nothing is proved yet.
    pub handshakes: Taken,
    /// Refused, or cut for a later one, since the start.
    pub turned_away: u64,
}

/// A row for each; nothing where there is none.
pub fn table<'a>(places: impl IntoIterator<Item = Places<'a>>, look: Look) -> Printable {
    let rows = places.into_iter().map(|it| {
        [
            it.listener.into(),
            it.connections.into(),
            it.strangers.into(),
            it.turned_away.to_string().into(),
            it.handshakes.into(),
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

impl From<Taken> for Cell {
    fn from(Taken { taken, bound }: Taken) -> Self {
        let tone = match taken < bound {
            true => Tone::Plain,
            false => Tone::Bad,
        };
        match bound {
            0 => Self::from("-"),
            _ => Self::toned(format!("{taken} of {bound}"), tone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(taken: u64, bound: u64) -> Taken {
        Taken { taken, bound }
    }

    #[test]
    fn places_fit_a_terminal() {
        let full = Places {
            listener: "api",
            connections: taken(16_384, 16_384),
            strangers: taken(1_024, 1_024),
            handshakes: taken(7, 1_024),
            turned_away: u64::MAX,
        };
        let admin = Places {
            listener: "admin",
            connections: taken(0, 256),
            strangers: Taken::default(),
            handshakes: Taken::default(),
            turned_away: 0,
        };
        let look = Look {
            width: Some(60),
            ..Look::default()
        };
        let text = table([full, admin], look).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].contains("1024 of 1024"), "{text}");
        assert!(
            lines[2].contains("admin") && lines[2].contains(" - "),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= 60), "{text}");
    }

    #[test]
    fn without_a_listener_there_is_no_table() {
        assert_eq!(table([], Look::default()), Printable::default());
    }
}
