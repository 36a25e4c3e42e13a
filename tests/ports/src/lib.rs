//! Ports that stay ours while the process that uses them is down: for every harness that starts a server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{self as unix, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Below the range from which the kernel takes the ports of outgoing connections: none of them
/// can sit on a reserved port while its owner restarts.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// The claims of this process. The kernel drops them with it, however it ends.
static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A loopback address on which nobody listens, and that no other test is given.
///
/// # Panics
/// Every port that was tried is in use.
pub fn reserve() -> SocketAddr {
    let address = |_| SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE)));
    (0..1_000)
        .map(address)
        .find(|address| claim(address.port()).is_ok() && TcpListener::bind(address).is_ok())
        .expect("one of a thousand ports is free")
}

/// Takes the abstract Unix address that stands for a port. Only one process can have it.
fn claim(port: u16) -> std::io::Result<()> {
    let name = unix::SocketAddr::from_abstract_name(format!("countersign-tests-port-{port}"))?;
    let claim = UnixListener::bind_addr(&name)?;
    CLAIMS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(claim);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_port_is_not_given_again() {
        let port = reserve().port();
        assert!(claim(port).is_err());
    }
}
