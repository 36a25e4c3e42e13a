//! `[admin]`: the operator's socket.

use std::path::{Path, PathBuf};

use countersign_cli::{Key, Reader};
use serde::Serialize;

const SOCKET: Key = Key::new(
    "admin.socket",
    "The Unix socket of operators, mode 0600: whoever may open it may do everything.",
)
.by_default("`admin.sock` in `data_dir`");

/// Where operators reach the control plane.
#[derive(Clone, Debug, Serialize)]
pub struct Admin {
    /// `socket`: a Unix socket, mode 0600.
    pub socket: PathBuf,
}

impl Admin {
    pub(super) fn read(reader: &mut Reader, data_dir: &Path) -> Option<Self> {
        Some(Self {
            socket: reader.socket(&SOCKET, data_dir.join("admin.sock"))?,
        })
    }
}
