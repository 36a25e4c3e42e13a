//! Whole handshakes in memory, at the fixed moment of the test PKI.

mod handshake;
mod rotation;
mod rules;

use std::sync::Arc;

use rustls::time_provider::TimeProvider;
use rustls::{ClientConnection, Error, ServerConnection};
use rustls_pki_types::{ServerName, UnixTime};

use super::*;
use crate::BundleSet;
use crate::pki::{World, leaf_params, now};

const WEB: &str = crate::pki::WEB;
const CLIENT: &str = "spiffe://example.org/client";

/// The clock of the test PKI.
#[derive(Debug)]
struct Fixed;

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(now().as_second()).ok()?;
        let since_epoch = std::time::Duration::from_secs(seconds);
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

/// What a handshake is made of; a test changes one part.
struct Setup {
    server: Arc<IdentityCell>,
    client: Option<Arc<IdentityCell>>,
    server_trust: Arc<TrustCell>,
    client_trust: Arc<TrustCell>,
    server_accepts: PeerRule,
    client_accepts: PeerRule,
    auth: ClientAuth,
}

impl Setup {
    fn mutual() -> Self {
        Self {
            server: holding(WEB),
            client: Some(holding(CLIENT)),
            server_trust: TrustCell::new(World::shared().bundles()),
            client_trust: TrustCell::new(World::shared().bundles()),
            server_accepts: one_of(&[CLIENT]),
            client_accepts: one_of(&[WEB]),
            auth: ClientAuth::Required,
        }
    }

    fn configs(&self) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let server = server_config(
            self.server.clone(),
            self.server_trust.clone(),
            self.server_accepts.clone(),
            self.auth,
            &[b"h2"],
        );
        let client = client_config(
            self.client.clone(),
            self.client_trust.clone(),
            self.client_accepts.clone(),
            &[b"h2"],
        );
        (at_fixed_time(&server), client_at_fixed_time(&client))
    }

    fn shake(&self) -> Result<Pair, Failed> {
        let (server, client) = self.configs();
        shake(&server, &client)
    }
}

fn at_fixed_time(config: &Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(config);
    config.time_provider = Arc::new(Fixed);
    Arc::new(config)
}

fn client_at_fixed_time(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.time_provider = Arc::new(Fixed);
    Arc::new(config)
}

fn one_of(ids: &[&str]) -> PeerRule {
    let id = |text: &&str| SpiffeId::new(text).unwrap();
    PeerRule::OneOf(ids.iter().map(id).collect())
}

fn holding(id: &str) -> Arc<IdentityCell> {
    let cell = IdentityCell::empty();
    cell.install(key_of(World::shared(), id, 7));
    cell
}

fn key_of(world: &World, id: &str, serial: u8) -> CertifiedKey {
    let mut params = leaf_params(id);
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&[serial]));
    let leaf = world.issuing.issue(&params, &world.key);
    let chain = vec![leaf, world.issuing.der.clone()];
    certified_key(chain, &world.key.serialize_der()).unwrap()
}

/// Both ends of a finished handshake.
#[derive(Debug)]
struct Pair {
    server: ServerConnection,
    client: ClientConnection,
}

/// Which end gave up, and why.
#[derive(Debug, PartialEq)]
enum Failed {
    Server(Error),
    Client(Error),
}

impl Failed {
    fn code(&self) -> &'static str {
        let (Self::Server(error) | Self::Client(error)) = self;
        handshake_code(error)
    }
}

/// Most flights that are carried before a handshake counts as stuck.
const MAX_FLIGHTS: usize = 10;

fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<Pair, Failed> {
    let name = ServerName::try_from("any.name.at.all").unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    for _ in 0..MAX_FLIGHTS {
        carry(&mut client, &mut server).map_err(Failed::Server)?;
        carry(&mut server, &mut client).map_err(Failed::Client)?;
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(Pair { server, client });
        }
    }
    panic!("the handshake neither ends nor fails")
}

/// Everything that one end has to say reaches the other.
fn carry<A, B>(
    from: &mut rustls::ConnectionCommon<A>,
    to: &mut rustls::ConnectionCommon<B>,
) -> Result<(), Error>
where
    A: rustls::SideData,
    B: rustls::SideData,
{
    let mut flight = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut flight).unwrap();
    }
    let mut rest = flight.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}
