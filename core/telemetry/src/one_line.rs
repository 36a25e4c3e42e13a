//! Keeps an event on one line, and from steering a terminal.
//!
//! What a peer sent may hold line breaks, which forge events, and escape sequences. JSON escapes
//! both. The text format of the subscriber escapes neither in fields that are shown by `Display`;
//! so no control character passes here, which is why text has no colours.

use std::io::{self, Write};

/// Escapes control characters but for the line feed that ends an event. The subscriber writes
/// each event at once.
#[derive(Debug)]
pub(crate) struct OneLine<W>(pub(crate) W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, end) = match event.split_last() {
            Some((b'\n', line)) => (line, "\n"),
            _ => (event, ""),
        };
        let line = String::from_utf8_lossy(line);
        if line.contains(char::is_control) {
            let escaped: String = line.chars().flat_map(shown).collect();
            self.0.write_all((escaped + end).as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A character, or its escape as Rust writes it.
fn shown(c: char) -> impl Iterator<Item = char> {
    let escape = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    escape.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn hostile_fields_stay_on_their_line() {
        for json in [false, true] {
            let log = Log::default();
            let writer = log.clone();
            let lines = crate::lines(json, move || writer.clone());
            let subscriber = tracing_subscriber::registry().with(lines);
            tracing::subscriber::with_default(subscriber, || {
                let id = "spiffe://a/\x1b[2J\u{9b}1m\r\n2026 INFO forged\n";
                tracing::info!(%id, debug = ?id, text = id, "refused");
                tracing::info_span!("attest", %id).in_scope(|| tracing::info!("second"));
            });
            let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert_eq!(written.lines().count(), 2, "{written:?}");
            assert!(written.ends_with('\n'), "{written:?}");
            assert!(!written.contains(['\r', '\x1b', '\u{9b}']), "{written:?}");
        }
    }
}
