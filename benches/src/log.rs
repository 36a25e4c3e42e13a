//! What a daemon logged: where it listens, and how many lines there were in the worst second.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Characters of a timestamp up to the second.
const TO_THE_SECOND: usize = "2026-11-30T01:30:51".len();

/// The address of a listener, by the name under which the daemon tells it.
///
/// # Errors
/// It has not told it yet.
pub fn address_of(log: &Path, listener: &str) -> Result<SocketAddr> {
    let text = fs::read_to_string(log)?;
    let mut told = text.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let name = line.get("name").or(line.get("listener"))?.as_str()?;
        (line.get("message")? == "listening" && name == listener)
            .then(|| line["address"].as_str().unwrap_or_default().to_owned())
    });
    let address = told.next_back().context("it does not listen yet")?;
    Ok(address.parse()?)
}

/// How long a log is.
///
/// # Errors
/// There is none.
pub fn length(log: &Path) -> Result<u64> {
    Ok(fs::metadata(log)?.len())
}

/// Lines of the second with the most, from a place in the log on.
///
/// # Errors
/// There is no log.
pub fn most_lines_a_second(log: &Path, from: u64) -> Result<usize> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut seconds: HashMap<String, usize> = HashMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        let moment = line["timestamp"].as_str().unwrap_or_default();
        let second = moment.get(..TO_THE_SECOND).unwrap_or_default();
        *seconds.entry(second.to_owned()).or_default() += 1;
    }
    Ok(seconds.into_values().max().unwrap_or_default())
}
