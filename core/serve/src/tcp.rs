//! Binding TCP listeners, and the options of every TCP connection.

use std::io;
use std::net::SocketAddr;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};

use crate::limits::{KEEPALIVE_IDLE, KEEPALIVE_PROBE_INTERVAL, KEEPALIVE_PROBES, LISTEN_BACKLOG};

/// A port or socket that could not be bound, with the setting that asked for it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {source}")]
pub struct BindError {
    /// The configuration key, such as `api.listen`.
    pub setting: String,
    /// The address or path.
    pub address: String,
    /// What the kernel said.
    pub source: io::Error,
}

impl BindError {
    /// What mends it.
    pub fn remedy(&self) -> String {
        let setting = &self.setting;
        match self.source.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("move away what is there, or write another path into {setting}")
            }
            io::ErrorKind::AddrInUse => format!("stop what uses it, or change {setting}"),
            io::ErrorKind::PermissionDenied => {
                format!("let the user of the daemon use it, or change {setting}")
            }
            _ => format!("mend that, or change {setting}"),
        }
    }
}

/// Binds and listens. Port 0 takes a free port.
///
/// # Errors
/// A port in use or an address that is not this machine's, with the setting that named it.
pub fn bind_tcp(address: SocketAddr, setting: &str) -> Result<TcpListener, BindError> {
    let error = |source| BindError {
        setting: setting.to_owned(),
        address: address.to_string(),
        source,
    };
    let listener = std::net::TcpListener::bind(address).map_err(error)?;
    // A second `listen` only lengthens the backlog.
    rustix::net::listen(&listener, LISTEN_BACKLOG).map_err(|errno| error(errno.into()))?;
    listener.set_nonblocking(true).map_err(error)?;
    TcpListener::from_std(listener).map_err(error)
}

/// Without Nagle's delay, and with keepalive probes: a peer that vanished without a word is found
/// out after about two minutes and no longer holds its place.
///
/// # Errors
/// The socket is closed already.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_PROBE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}

#[cfg(test)]
mod tests;
