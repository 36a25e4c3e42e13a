//! What is shown meanwhile: live in a terminal, plain lines elsewhere; always on stderr, and in
//! lines that fit a narrow window.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// One look at everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// All of it in one line, for where lines stay.
    pub(super) summary: String,
    /// A line for each thing that has a name.
    pub(super) rows: Vec<(&'static str, String)>,
}

/// The screen.
#[derive(Debug)]
pub(super) struct Progress {
    total: Duration,
    began: Instant,
    screen: Screen,
}

#[derive(Debug)]
enum Screen {
    Terminal {
        all: MultiProgress,
        bar: ProgressBar,
        rows: std::cell::RefCell<Vec<ProgressBar>>,
    },
    Lines {
        last: Cell<Option<Instant>>,
    },
}

impl Progress {
    pub(super) fn new(total: Duration) -> Self {
        let screen = if std::io::stderr().is_terminal() {
            let all = MultiProgress::new();
            let millis = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
            let bar = all.add(ProgressBar::new(millis));
            bar.set_style(style("{bar:38.green} {msg}"));
            Screen::Terminal {
                all,
                bar,
                rows: std::cell::RefCell::default(),
            }
        } else {
            Screen::Lines {
                last: Cell::new(None),
            }
        };
        let began = Instant::now();
        Self {
            total,
            began,
            screen,
        }
    }

    /// Something happened: stays on the screen.
    pub(super) fn event(&self, text: &str) {
        let line = format!("{:5.1}s  {text}", self.began.elapsed().as_secs_f64());
        match &self.screen {
            // A terminal that has gone is no reason to stop.
            Screen::Terminal { all, .. } => drop(all.println(line)),
            Screen::Lines { .. } => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    /// How it stands now: replaces what was shown before.
    pub(super) fn show(&self, elapsed: Duration, frame: &Frame) {
        match &self.screen {
            Screen::Terminal { all, bar, rows } => {
                bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
                bar.set_message(format!(
                    "{}s of {}s",
                    elapsed.as_secs(),
                    self.total.as_secs()
                ));
                let mut rows = rows.borrow_mut();
                while rows.len() < frame.rows.len() {
                    let row = all.add(ProgressBar::new_spinner());
                    row.set_style(style("  {prefix:13.bold} {msg}"));
                    rows.push(row);
                }
                for (row, (name, text)) in rows.iter().zip(&frame.rows) {
                    row.set_prefix(*name);
                    row.set_message(text.clone());
                }
                // An authority that is gone.
                for row in rows.drain(frame.rows.len()..) {
                    row.finish_and_clear();
                }
            }
            Screen::Lines { last } => {
                if last.get().is_none_or(|last| last.elapsed() >= LINE_EVERY) {
                    last.set(Some(Instant::now()));
                    self.event(&frame.summary);
                }
            }
        }
    }

    /// Leaves the last look on the screen.
    pub(super) fn end(&self) {
        if let Screen::Terminal { bar, rows, .. } = &self.screen {
            bar.finish_and_clear();
            rows.borrow().iter().for_each(ProgressBar::abandon);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant template")
}
