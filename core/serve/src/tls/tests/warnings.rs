//! What an operator reads of a handshake that came to nothing.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use tracing::Level;

use super::*;
use crate::testing::dial_from;

/// Whose lines nobody else of these tests uses up.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

/// What is logged in this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn kept() -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(Level::DEBUG)
            .with_writer(move || writer.clone());
        (lines, tracing::subscriber::set_default(subscriber.finish()))
    }

    /// The lines of this level that say this.
    fn at(&self, level: Level, said: &str) -> Vec<String> {
        let written = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let wanted = |line: &&str| line.contains(level.as_str()) && line.contains(said);
        written.lines().filter(wanted).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn refused_certificate_is_a_warning() {
    let (lines, _kept) = Lines::kept();
    let server = Server::mutual().await;
    // Who shows no certificate is anybody.
    for client in [Pki::stranger(), Pki::new("foreign").client()] {
        let failed = server.counters.failed.value();
        // In TLS 1.3 the client learns it on its first read.
        if let Ok(mut stream) = dial_from(SOURCE, server.port, &client).await {
            closed(&mut stream).await;
        }
        eventually(|| server.counters.failed.value() > failed).await;
    }
    let refused = |level| lines.at(level, "refused");
    eventually(|| refused(Level::WARN).len() == 1 && refused(Level::DEBUG).len() == 1).await;
    let warning = refused(Level::WARN).remove(0);
    assert!(warning.contains("client certificate refused"), "{warning}");
    assert!(warning.contains(r#"reason="unknown_issuer""#), "{warning}");
    assert!(warning.contains("peer=127.0.0.77:"), "{warning}");
}
