//! How wide the terminal is and whether it shows colours.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

use clap::Args;
use terminal_size::{Height, Width, terminal_size};

/// A terminal that says it is narrower than this is not believed.
const NARROWEST: usize = 20;
/// Lines of a terminal that does not say how many it has.
const USUAL_HEIGHT: usize = 24;
/// Longest line that a width may ask for.
const WIDEST: usize = 10_000;

/// How text for people looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal; `None` where nothing is folded.
    pub width: Option<usize>,
    /// Lines of the terminal; `None` where stdout is none.
    pub height: Option<usize>,
    /// All columns, and nothing shortened.
    pub wide: bool,
    /// Whether colours are wanted.
    pub color: bool,
}

/// What every verb with a table takes.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Wide {
    /// All columns, with serials and versions in full
    #[arg(long)]
    wide: bool,
}

impl Wide {
    /// How stdout looks now.
    pub fn look(self) -> Look {
        let is_terminal = io::stdout().is_terminal();
        let size = terminal_size().filter(|_| is_terminal);
        let size = size.map(|(Width(width), Height(height))| (width.into(), height.into()));
        let surroundings = Surroundings {
            columns: std::env::var_os("COLUMNS"),
            no_color: std::env::var_os("NO_COLOR"),
            term: std::env::var_os("TERM"),
            is_terminal,
            size,
        };
        surroundings.look(self.wide)
    }
}

/// What decides it.
struct Surroundings {
    columns: Option<OsString>,
    no_color: Option<OsString>,
    term: Option<OsString>,
    is_terminal: bool,
    size: Option<(usize, usize)>,
}

impl Surroundings {
    /// `COLUMNS` counts before the terminal, and where stdout is none; without both nothing is folded:
    /// a program reads it. Colours are for a terminal, unless `NO_COLOR` is set to anything.
    fn look(&self, wide: bool) -> Look {
        let columns = self.columns.as_ref().and_then(|text| text.to_str());
        let columns = columns.and_then(|text| text.parse().ok());
        let width = columns.or_else(|| self.size.map(|(width, _)| width));
        let refuses_color = self.no_color.as_ref().is_some_and(|it| !it.is_empty());
        let is_dumb = self.term.as_ref().is_some_and(|term| term == "dumb");
        Look {
            width: width.filter(|width| (NARROWEST..=WIDEST).contains(width)),
            height: self.is_terminal.then(|| {
                let height = self.size.map(|(_, height)| height);
                height.unwrap_or(USUAL_HEIGHT)
            }),
            wide,
            color: self.is_terminal && !refuses_color && !is_dumb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings {
            columns: None,
            no_color: None,
            term: Some("xterm".into()),
            is_terminal: true,
            size: Some((80, 24)),
        }
    }

    #[test]
    fn columns_count_before_the_terminal() {
        let width = |columns: Option<&str>, size| {
            let it = Surroundings {
                columns: columns.map(Into::into),
                size,
                ..surroundings()
            };
            it.look(false).width
        };
        let terminal = Some((80, 24));
        assert_eq!(width(None, terminal), Some(80));
        assert_eq!(width(Some("100"), terminal), Some(100));
        assert_eq!(width(Some("60"), None), Some(60));
        assert_eq!(width(None, None), None);
        assert_eq!(width(Some("wide"), terminal), Some(80));
        assert_eq!(width(Some("3"), terminal), None);
    }

    #[test]
    fn colours_are_for_a_terminal_that_wants_them() {
        assert!(surroundings().look(false).color);
        let refusing = [
            Surroundings {
                no_color: Some("1".into()),
                ..surroundings()
            },
            Surroundings {
                term: Some("dumb".into()),
                ..surroundings()
            },
            Surroundings {
                is_terminal: false,
                ..surroundings()
            },
        ];
        assert!(refusing.iter().all(|it| !it.look(false).color));
        // As no-color.org says, an empty one counts as not set.
        let empty = Surroundings {
            no_color: Some("".into()),
            ..surroundings()
        };
        assert!(empty.look(false).color);
    }
}
