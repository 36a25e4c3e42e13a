//! How wide each column is, and where a cell is wrapped: pure.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{GAP, Keep};

/// A column is not made narrower than this for the sake of another.
const NARROWEST: usize = 10;

/// The room of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Which column.
    pub(super) place: usize,
    pub(super) keep: Keep,
    pub(super) width: usize,
    /// The width of its name.
    pub(super) least: usize,
}

/// Fits columns into a width: leaves out what may be left out, then narrows the widest. More columns than
/// have room at their narrowest run over.
pub(super) fn room(mut columns: Vec<Room>, width: Option<usize>) -> Vec<Room> {
    let Some(width) = width else {
        return columns;
    };
    while total(&columns) > width {
        let last = columns.iter().map(|it| it.keep).max();
        let Some(last @ Keep::Unless(_)) = last else {
            break;
        };
        let place = columns.iter().rposition(|it| it.keep == last);
        place.map(|place| columns.remove(place));
    }
    while total(&columns) > width {
        let can = |it: &&mut Room| it.width > it.least.max(NARROWEST);
        let Some(widest) = columns.iter_mut().filter(can).max_by_key(|it| it.width) else {
            break;
        };
        widest.width -= 1;
    }
    columns
}

fn total(columns: &[Room]) -> usize {
    let gaps = GAP * columns.len().saturating_sub(1);
    columns.iter().map(|it| it.width).sum::<usize>() + gaps
}

/// A text in lines of at most `width` columns, broken between words; a word that has no room, after a
/// slash, a comma or a colon of it, or where it must be.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.width() > width.max(1) {
        let (line, more) = rest.split_at(break_of(rest, width.max(1)));
        lines.push(line.trim_end().to_owned());
        rest = more.trim_start();
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

/// Where the first line of a text that is too long ends, in bytes; always after a character.
fn break_of(text: &str, width: usize) -> usize {
    let (mut taken, mut end) = (0, 0);
    let (mut word, mut part) = (None, None);
    for (place, c) in text.char_indices() {
        if c == ' ' && place > 0 {
            word = Some(place);
        }
        let next = taken + c.width().unwrap_or(0);
        if next > width && end > 0 {
            break;
        }
        taken = next;
        end = place + c.len_utf8();
        // A part that is short is no gain.
        if matches!(c, '/' | ',' | ':') && taken * 3 > width {
            part = Some(end);
        }
    }
    word.or(part).unwrap_or(end)
}
