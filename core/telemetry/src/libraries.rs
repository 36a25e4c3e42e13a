//! What the libraries that we use log: errors, and whatever the operator's filter asks of one by name.
//!
//! A library does not know who causes its lines, and some of them a peer can cause at will: h2 warns
//! of each PING that is acknowledged twice. So a level that names no target is for our own code, and
//! what libraries write at info or above has the share of one principal in
//! [`peer_lines`](crate::peer_lines), all of them together. Debug is for an operator who looks for something.

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::layer::Context;
use tracing_subscriber::{EnvFilter, Layer};

use crate::peer_lines;

/// What the target of every event of our own code begins with.
const OURS: &str = "countersign";

/// The filter of these directives, where libraries are quiet unless a directive names one.
///
/// # Errors
/// Directives that do not parse.
pub(crate) fn filter(directives: &str) -> Result<EnvFilter, ParseError> {
    let directives = directives.split(',').map(str::trim);
    let directives: Vec<_> = directives.filter(|one| !one.is_empty()).collect();
    // Of two for the same target the last one is kept: what names our code goes before its level.
    let (levels, named): (Vec<_>, Vec<_>) = directives.into_iter().partition(|one| is_level(one));
    let levels = levels.into_iter().map(for_our_code);
    let all: Vec<_> = levels.chain(named.into_iter().map(str::to_owned)).collect();
    EnvFilter::try_new(all.join(","))
}

fn is_level(directive: &str) -> bool {
    directive.parse::<LevelFilter>().is_ok()
}

/// A level that names no target: libraries write errors at most.
fn for_our_code(level: &str) -> String {
    let of_libraries = level
        .parse()
        .map_or(LevelFilter::ERROR, |level: LevelFilter| {
            level.min(LevelFilter::ERROR)
        });
    format!("{OURS}={level},{of_libraries}")
}

/// Lets few events of libraries pass, whatever they are for: the log or a trace.
#[derive(Debug)]
pub(crate) struct Limited;

impl<S: Subscriber> Layer<S> for Limited {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let is_for_debugging = *metadata.level() > Level::INFO;
        metadata.target().starts_with(OURS) || is_for_debugging || peer_lines::admit_library()
    }
}
