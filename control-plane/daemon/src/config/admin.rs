//! `[admin]`: the operator's socket.

use std::path::PathBuf;

use countersign_cli::Reader;
use serde::Serialize;

/// Where operators reach the control plane.
#[derive(Clone, Debug, Serialize)]
pub struct Admin {
    /// `socket`: a Unix socket, mode 0600.
    pub socket: PathBuf,
}

impl Admin {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        Some(Self {
            socket: reader.socket("admin.socket", "./cp/admin.sock")?,
        })
    }
}
