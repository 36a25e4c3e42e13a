//! Binding TCP listeners.

use std::net::SocketAddr;

use tokio::net::TcpListener;

/// A port or socket that could not be bound, with the setting that asked for it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {source}")]
pub struct BindError {
    /// The configuration key, such as `api.listen`.
    pub setting: String,
    /// The address or path.
    pub address: String,
    /// What the kernel said.
    pub source: std::io::Error,
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
    listener.set_nonblocking(true).map_err(error)?;
    TcpListener::from_std(listener).map_err(error)
}
