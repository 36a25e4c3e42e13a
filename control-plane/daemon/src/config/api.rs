//! `[api]`: the sidecar API.

use std::net::SocketAddr;

use countersign_cli::{Key, Reader};
use serde::Serialize;

const LISTEN: Key = Key::new(
    "api.listen",
    "Where sidecars connect, with TLS 1.3. Port 0 takes a free port, which `countersign status` \
     tells.",
);

/// Where sidecars reach the control plane.
#[derive(Clone, Debug, Serialize)]
pub struct Api {
    /// `listen`: TLS 1.3 only; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Api {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let default = SocketAddr::from(([127, 0, 0, 1], 8443));
        Some(Self {
            listen: reader.address(&LISTEN, default)?,
        })
    }
}
