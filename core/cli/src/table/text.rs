//! Texts above and below tables, folded as those are.

use super::fold::wrapped;
use super::{Look, Tone};
use crate::printable::{Printable, printable};

/// A text with what stands before its first line, and as many spaces before the others.
pub fn folded(text: &str, before: &str, tone: Tone, look: Look) -> Vec<Printable> {
    let width = look.width.filter(|_| !look.wide);
    let width = width.map_or(usize::MAX, |width| width.saturating_sub(before.len()));
    let lines = wrapped(&printable(text), width).into_iter();
    let line = |(number, line): (usize, String)| {
        let indent = " ".repeat(before.len());
        let before = if number == 0 { before } else { &indent };
        tone.paint(&format!("{before}{line}"), look)
    };
    lines.enumerate().map(line).collect()
}

/// A number of things, with its noun.
pub fn count(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}
