//! Why a socket that only root and the server's own user may use cannot be used, by what mends it.

use std::error::Error;
use std::io::{self, ErrorKind};

use super::{NotASocket, Squatter};

/// What stands between a client and its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody else answers, or may have put the socket there. Nothing was sent.
    OfAnother,
    /// No server can be at this path.
    NoSocket,
    /// This user may not use it.
    Denied,
    /// Somebody listens, and does not answer.
    Silent,
    /// Nobody listens.
    Absent,
}

impl Obstacle {
    /// What an error of [`dial`](super::dial), or of a connection that it made, comes from.
    pub fn of(error: &io::Error) -> Self {
        let inside = error.get_ref();
        match error.kind() {
            _ if inside.is_some_and(<dyn Error + Send + Sync>::is::<Squatter>) => Self::OfAnother,
            _ if inside.is_some_and(<dyn Error + Send + Sync>::is::<NotASocket>) => Self::NoSocket,
            // No address of a socket is that long.
            ErrorKind::InvalidInput => Self::NoSocket,
            ErrorKind::PermissionDenied => Self::Denied,
            // Its queue of connections is full.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            _ => Self::Absent,
        }
    }
}
