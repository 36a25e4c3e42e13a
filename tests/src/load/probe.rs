//! A client that speaks mTLS itself, to see which certificates are really presented.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use countersign_model::SpiffeId;
use countersign_verify::tls::{self, PeerRule};
use jiff::Timestamp;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{Counters, client};
use crate::clock;
use crate::workload::{self, Identity};

/// Between two handshakes: the resolution of "first seen".
const PACE: Duration = Duration::from_millis(10);
/// A handshake with its request that takes longer has failed.
const PROBE_BOUND: Duration = Duration::from_secs(15);

/// Serials (hex) seen in handshakes, with the moment when each was seen after another one.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Vec<(String, Timestamp)>>);

impl Seen {
    /// Serial and the moment when it was first seen, by serial.
    pub fn all(&self) -> BTreeMap<String, Timestamp> {
        // Of one that came back the first moment counts.
        self.lock().iter().rev().cloned().collect()
    }

    /// The serials in the order in which they were presented: one that came back is in it again.
    pub fn history(&self) -> Vec<String> {
        let seen = self.lock();
        seen.iter().map(|(serial, _)| serial.clone()).collect()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.all().len()
    }

    fn note(&self, serial: &[u8], at: Timestamp) {
        let serial = workload::serial(&hex::encode(serial));
        let mut seen = self.lock();
        if seen.last().is_none_or(|(last, _)| *last != serial) {
            seen.push((serial, at));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Timestamp)>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A proxy to look at.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in reasons.
    pub name: &'static str,
    /// Its mTLS listener.
    pub address: SocketAddr,
    /// Who it must be.
    pub expect: SpiffeId,
    /// Who we are.
    pub identity: Identity,
}

/// Opens handshake after handshake with one request in each, and notes the serials.
pub async fn probe(
    counters: Arc<Counters>,
    stop: CancellationToken,
    target: Target,
    seen: Arc<Seen>,
) {
    while !stop.is_cancelled() {
        counters.opened();
        let outcome = tokio::time::timeout(PROBE_BOUND, handshake(&target, &seen))
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("not within {PROBE_BOUND:?}")));
        counters.request(target.name, outcome);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PACE) => {}
        }
    }
}

async fn handshake(target: &Target, seen: &Seen) -> Result<()> {
    let rule = PeerRule::OneOf([target.expect.clone()].into());
    let (identity, trust) = (target.identity.key(), target.identity.trust());
    let config = tls::client_config(Some(identity), trust, rule, &[]);
    let stream = TcpStream::connect(target.address)
        .await
        .context("connect")?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("service").expect("a constant DNS name");
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .context("handshake")?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = tls::peer_of(certificates).context("a peer without an SVID")?;
    let at = clock::now();
    client::exchange_once(stream).await?;
    seen.note(&peer.serial, at);
    Ok(())
}
