//! `--watch`: the same again and again, in place on a terminal.
//!
//! A control plane that does not answer is said above what was last known, and asked again: a watch ends
//! by Ctrl-C, or when nobody reads it any more.

use std::io::{self, Write as _};

use countersign_cli::{Exit, Failure};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use unicode_width::UnicodeWidthStr;

use super::Status;
use super::shape::Shown;
use crate::called::Called;
use crate::client::Client;
use crate::distance::{between, to_the_second};
use crate::output::{Output, Printable};
use crate::table::Tone;
use crate::table::look::Look;

/// A screen of its own, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// The screen as it was before.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
/// Clears what an older frame had in this line.
const END_OF_LINE: &str = "\x1b[K\r\n";
/// Clears what an older frame had below.
const BELOW: &str = "\x1b[J";

/// What is shown at one moment.
struct Frame {
    /// The last answer.
    shown: Option<Shown>,
    /// Why there is no newer one, and since when.
    failed: Option<(Timestamp, Failure)>,
}

/// Shows until Ctrl-C.
pub(super) async fn run(asked: &Status, client: &Client, output: Output) -> Result<Exit, Failure> {
    let look = asked.wide.look();
    let screen = Screen::open(look.height.is_some() && !output.is_json());
    let ended = watch(asked, client, output, &screen).await;
    drop(screen);
    ended.map(|()| Exit::Yes)
}

async fn watch(
    asked: &Status,
    client: &Client,
    output: Output,
    screen: &Screen,
) -> Result<(), Failure> {
    let mut stopped = Stopped::new()?;
    let mut frame = Frame {
        shown: None,
        failed: None,
    };
    loop {
        let next = Instant::now() + asked.interval;
        let answer = tokio::select! {
            biased;
            () = stopped.wait() => return Ok(()),
            answer = asked.ask(client) => answer,
        };
        frame.take_in(answer, crate::clock::now())?;
        if !frame.print(asked, output, screen, client.called())? {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = stopped.wait() => return Ok(()),
            () = sleep_until(next) => {}
        }
    }
}

impl Frame {
    /// Only what may mend itself is waited for.
    fn take_in(&mut self, answer: Result<Shown, Failure>, now: Timestamp) -> Result<(), Failure> {
        match answer {
            Ok(shown) => {
                self.shown = Some(shown);
                self.failed = None;
            }
            Err(failure) if failure.exit == Exit::Unreachable => {
                let since = self.failed.as_ref().map_or(now, |(since, _)| *since);
                self.failed = Some((since, failure));
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// False once nobody reads any more.
    fn print(
        &self,
        asked: &Status,
        output: Output,
        screen: &Screen,
        called: &Called,
    ) -> Result<bool, Failure> {
        let now = crate::clock::now();
        // The terminal may have another size by now.
        let look = asked.wide.look();
        if output.is_json() {
            let fresh = self.shown.as_ref().filter(|_| self.failed.is_none());
            return fresh.map_or(Ok(true), |shown| output.line(shown, |_| String::new()));
        }
        let text = self.text(asked, look, now, called);
        let printed = match look.height.filter(|_| screen.is_open) {
            Some(height) => in_place(&text, height, look.width),
            None => format!("--- {}\n{text}\n\n", to_the_second(now)),
        };
        countersign_cli::print(printed.as_bytes())
    }

    fn text(&self, asked: &Status, look: Look, now: Timestamp, called: &Called) -> Printable {
        let silence = self.failed.as_ref().map(|(since, failure)| {
            let (for_, every) = (between(*since, now), asked.interval.as_secs_f64());
            let said = format!(
                "no answer for {for_}: {} (asked again every {every} s)",
                failure.message
            );
            Tone::Bad.paint(&said, look)
        });
        let shown = self.shown.as_ref().map(|shown| {
            let text = super::text(shown, now, look, asked.all, called);
            let was = shown.at.filter(|_| self.failed.is_some());
            let was = was.map(|at| Printable::from(format!("as it was at {}:", to_the_second(at))));
            Printable::join(was.into_iter().chain([text]), "\n")
        });
        Printable::join(silence.into_iter().chain(shown), "\n\n")
    }
}

/// A frame over the one before; what has no room is counted. A line that is longer than the terminal is
/// wide takes several of its lines.
fn in_place(text: &Printable, height: usize, width: Option<usize>) -> String {
    let lines: Vec<_> = text.lines().collect();
    let takes = |line: &str| width.map_or(1, |width| visible(line).div_ceil(width).max(1));
    let all: usize = lines.iter().map(|line| takes(line)).sum();
    let room = height.saturating_sub(1).max(1);
    let room = if all <= room { room } else { room - 1 };
    let (mut frame, mut taken, mut shown) = (HOME.to_owned(), 0, 0);
    for line in &lines {
        taken += takes(line);
        if taken > room {
            break;
        }
        shown += 1;
        frame.push_str(line);
        frame.push_str(END_OF_LINE);
    }
    if shown < lines.len() {
        let more = lines.len() - shown;
        frame.push_str(&format!("{more} more lines: --problems, --node, --id"));
        frame.push_str(END_OF_LINE);
    }
    frame.push_str(BELOW);
    frame
}

/// How wide a line is that has colours of our own and no other escapes.
fn visible(line: &str) -> usize {
    let mut parts = line.split('\x1b');
    let first = parts.next().map_or(0, UnicodeWidthStr::width);
    let rest = parts.map(|part| part.split_once('m').map_or(0, |(_, text)| text.width()));
    first + rest.sum::<usize>()
}

/// The screen of a watch; dropping it brings the one before back, however the watch ends.
struct Screen {
    is_open: bool,
}

impl Screen {
    fn open(is_open: bool) -> Self {
        if is_open {
            write(ENTER);
        }
        Self { is_open }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_open {
            write(LEAVE);
        }
    }
}

/// A terminal that went away shows nothing any more.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What ends a watch.
struct Stopped {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stopped {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                let remedy = "raise the limits on descriptors and threads";
                Failure::new(Exit::Unreachable, "no_signals", error.to_string(), remedy)
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_leaves_no_line_of_the_one_before() {
        let text = Printable::from("one\ntwo".to_owned());
        let frame = in_place(&text, 24, Some(80));
        assert_eq!(frame, "\x1b[Hone\x1b[K\r\ntwo\x1b[K\r\n\x1b[J");
    }

    #[test]
    fn a_frame_has_the_height_of_the_terminal() {
        let lines: Vec<_> = (0..50).map(|n| n.to_string()).collect();
        let frame = in_place(&Printable::from(lines.join("\n")), 24, Some(80));
        assert_eq!(frame.matches(END_OF_LINE).count(), 23);
        assert!(frame.contains("28 more lines"), "{frame:?}");
    }

    #[test]
    fn a_long_line_takes_several() {
        let color = Look {
            color: true,
            ..Look::default()
        };
        let red = Tone::Bad.paint(&"a".repeat(41), color);
        let text = Printable::join([red, Printable::from("one\ntwo".to_owned())], "\n");
        assert_eq!(visible(text.lines().next().unwrap()), 41);
        let frame = in_place(&text, 5, Some(40));
        assert!(!frame.contains("more lines"), "{frame:?}");
        let frame = in_place(&text, 4, Some(40));
        assert!(frame.contains("2 more lines"), "{frame:?}");
    }

    #[test]
    fn a_control_plane_that_went_away_is_said_and_asked_again() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let silent = || {
            Err(Failure::new(
                Exit::Unreachable,
                "gone",
                "it is gone",
                "wait",
            ))
        };
        let mut frame = Frame {
            shown: None,
            failed: None,
        };
        frame.take_in(Ok(Shown::default()), at(0)).unwrap();
        frame.take_in(silent(), at(10)).unwrap();
        frame.take_in(silent(), at(12)).unwrap();
        assert_eq!(frame.failed.as_ref().unwrap().0, at(10));
        assert!(frame.shown.is_some(), "what was known stays");
        frame.take_in(Ok(Shown::default()), at(14)).unwrap();
        assert!(frame.failed.is_none());
        let refused = Failure::new(Exit::Denied, "no", "not for you", "ask root");
        frame.take_in(Err(refused), at(16)).unwrap_err();
    }
}
