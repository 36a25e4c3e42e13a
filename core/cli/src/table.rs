//! Tables that fold to the terminal.
//!
//! Where a table is too wide, its least important columns are left out first, and a line below says which;
//! `--wide` shows all of them and folds nothing. What is still too wide is wrapped, between words and parts
//! of paths where that is possible: so are the few cells that are much longer than the others of their
//! column, before a column is left out for them. A colour repeats what the words say and never says more.

pub mod fold;
pub mod look;
pub mod places;
pub mod text;

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use crate::printable::{Printable, printable};
use fold::{Room, room, wrapped};
pub use look::Look;

/// Spaces between two columns.
const GAP: usize = 2;

/// When a column is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// Always.
    Always,
    /// Unless there is no room: the higher numbers go first.
    Unless(u8),
    /// With `--wide`.
    Wide,
}

/// What a cell means, beside its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// What it says.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way, or soon to be looked at.
    Warn,
    /// Somebody has to look.
    Bad,
}

impl Tone {
    fn escape(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("\x1b[32m"),
            Self::Warn => Some("\x1b[33m"),
            Self::Bad => Some("\x1b[31m"),
        }
    }

    /// A text in the colour of this tone, where colours are wanted. Nothing else of the text reaches a
    /// terminal as more than text.
    pub fn paint(self, text: &str, look: Look) -> Printable {
        Printable::trusted(self.around(&printable(text), look))
    }

    /// The same around a text that was cleaned before.
    fn around(self, cleaned: &str, look: Look) -> String {
        match self.escape().filter(|_| look.color) {
            Some(escape) => format!("{escape}{cleaned}\x1b[0m"),
            None => cleaned.to_owned(),
        }
    }
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text with a meaning.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: printable(&text.into()),
            tone,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl<T: ToString> From<Option<T>> for Cell {
    /// `-` for what is absent.
    fn from(value: Option<T>) -> Self {
        Self::from(value.map_or_else(|| "-".to_owned(), |value| value.to_string()))
    }
}

/// A table with one line a row, or more where cells are wrapped.
#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [(&'static str, Keep); N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// A table of these columns, without a row.
    pub fn new(columns: [(&'static str, Keep); N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// With these rows behind those that it has.
    pub fn with(mut self, rows: impl IntoIterator<Item = [Cell; N]>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// The table; `none` where there is no row.
    pub fn render(&self, look: Look, none: &str) -> Printable {
        if self.rows.is_empty() {
            return Printable::from(none.to_owned());
        }
        let room = self.room(look);
        let header = self.columns.map(|(name, _)| Cell::from(name));
        let rows = std::iter::once(&header).chain(&self.rows);
        let lines = rows.flat_map(|row| lines(row, &room, look));
        let table = Printable::trusted(lines.collect::<Vec<_>>().join("\n"));
        let below = self.left_out(&room, look);
        Printable::join([table].into_iter().chain(below), "\n")
    }

    /// A line that names the columns that have no room; those that nobody sees without `--wide` are not
    /// among them.
    fn left_out(&self, room: &[Room], look: Look) -> Vec<Printable> {
        let columns = self.columns.iter().enumerate();
        let left_out = columns.filter(|(place, (_, keep))| {
            matches!(keep, Keep::Unless(_)) && room.iter().all(|it| it.place != *place)
        });
        let names: Vec<_> = left_out.map(|(_, (name, _))| *name).collect();
        if names.is_empty() {
            return Vec::new();
        }
        let said = format!("--wide shows {}", names.join(", "));
        text::folded(&said, "", Tone::Plain, look)
    }

    fn room(&self, look: Look) -> Vec<Room> {
        let widths = |place: usize| {
            let cells = self.rows.iter().map(|row| row[place].text.width());
            let mut widths: Vec<_> = cells.collect();
            widths.sort_unstable();
            widths
        };
        let columns = self.columns.iter().enumerate();
        let columns: Vec<_> = columns
            .filter(|(_, (_, keep))| look.wide || *keep != Keep::Wide)
            .map(|(place, (name, keep))| {
                let keep = if look.wide { Keep::Always } else { *keep };
                Room::new(place, keep, name.width(), &widths(place))
            })
            .collect();
        // Whoever wants everything wants it in one line.
        room(columns, look.width.filter(|_| !look.wide))
    }
}

/// One row, as lines of the same columns.
fn lines<const N: usize>(row: &[Cell; N], room: &[Room], look: Look) -> Vec<String> {
    let cells: Vec<_> = room
        .iter()
        .map(|it| (wrapped(&row[it.place].text, it.width), row[it.place].tone))
        .collect();
    let height = cells
        .iter()
        .map(|(lines, _)| lines.len())
        .max()
        .unwrap_or(0);
    let line = |number: usize| {
        let mut line = String::new();
        let mut gap = 0;
        for ((lines, tone), room) in cells.iter().zip(room) {
            let text = lines.get(number).map_or("", String::as_str);
            if !text.is_empty() {
                let _ = write!(line, "{:gap$}{}", "", tone.around(text, look));
                gap = 0;
            }
            gap += room.width - text.width().min(room.width) + GAP;
        }
        line
    };
    (0..height).map(line).collect()
}

#[cfg(test)]
mod tests;
