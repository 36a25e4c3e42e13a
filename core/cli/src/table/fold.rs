//! How wide each column is, and where a cell is wrapped: pure.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{GAP, Keep};

/// A column is not made narrower than this for the sake of another.
const NARROWEST: usize = 10;

/// A cell that is no longer than this is not wrapped for the sake of another column: a time, a serial.
const SHORT: usize = 24;

/// The room of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Which column.
    pub(super) place: usize,
    pub(super) keep: Keep,
    pub(super) width: usize,
    /// What most of its cells need.
    usual: usize,
    /// The width of its name.
    least: usize,
}

impl Room {
    /// Of a column with these widths of cells, in order.
    pub(super) fn new(place: usize, keep: Keep, name: usize, widths: &[usize]) -> Self {
        let longest = widths.last().copied().unwrap_or(0);
        // Two thirds of the cells need no more.
        let most = widths.len().saturating_sub(1) * 2 / 3;
        let most = widths.get(most).copied().unwrap_or(0);
        Self {
            place,
            keep,
            width: longest.max(name),
            usual: most.max(longest.min(SHORT)).max(name),
            least: name,
        }
    }
}

/// Fits columns into a width: leaves out what may be left out, as far as what most cells need has no room;
/// then narrows those with longer cells, the widest first, and at last any. More columns than have room at
/// their narrowest run over.
pub(super) fn room(mut columns: Vec<Room>, width: Option<usize>) -> Vec<Room> {
    let Some(width) = width else {
        return columns;
    };
    while total(&columns, |it| it.usual) > width {
        let last = columns.iter().map(|it| it.keep).max();
        let Some(last @ Keep::Unless(_)) = last else {
            break;
        };
        let place = columns.iter().rposition(|it| it.keep == last);
        place.map(|place| columns.remove(place));
    }
    narrow(&mut columns, width, |it| it.usual);
    narrow(&mut columns, width, |it| it.least.max(NARROWEST));
    columns
}

/// Narrows the widest columns, none of them below its least width.
fn narrow(columns: &mut [Room], width: usize, least: impl Fn(&Room) -> usize) {
    while total(columns, |it| it.width) > width {
        let can = |it: &&mut Room| it.width > least(it);
        let Some(widest) = columns.iter_mut().filter(can).max_by_key(|it| it.width) else {
            return;
        };
        widest.width -= 1;
    }
}

fn total(columns: &[Room], width: impl Fn(&Room) -> usize) -> usize {
    let gaps = GAP * columns.len().saturating_sub(1);
    columns.iter().map(width).sum::<usize>() + gaps
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
