//! Durations as people write them.

use countersign_cli::duration::{format, parse};

use super::material::{text, texts};

/// What is taken reads the same from what it is written as.
pub fn run(data: &[u8]) -> bool {
    let Some(Ok(duration)) = text(data).map(parse) else {
        return false;
    };
    assert_eq!(parse(&format(duration)), Ok(duration));
    true
}

/// Every unit, and all of them.
pub fn seeds() -> Vec<Vec<u8>> {
    texts(&["90s", "10m", "1h30m", "3650d", "250ms", "1d2h3m4s5ms", "0s"])
}
