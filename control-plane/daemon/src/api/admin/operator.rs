//! Who asks on the admin socket, as the issuance log names them.

use std::fmt;

use countersign_serve::unix::UnixPeer;
use tonic::Request;

/// An operator, by the uid that the kernel gives for the other end of the socket. Root and the
/// server's own user alone are admitted, so there are two at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator {
    uid: Option<u32>,
}

impl Operator {
    /// Who sent a request.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let peer = request.extensions().get::<UnixPeer>();
        Self {
            uid: peer.map(|peer| peer.uid),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(uid) => write!(f, "operator uid {uid}"),
            None => f.write_str("operator"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_named_by_the_uid_of_the_socket() {
        let mut request = Request::new(());
        assert_eq!(Operator::of(&request).to_string(), "operator");
        let (uid, gid, pid) = (1000, 1000, Some(7));
        request.extensions_mut().insert(UnixPeer { uid, gid, pid });
        assert_eq!(Operator::of(&request).to_string(), "operator uid 1000");
    }
}
