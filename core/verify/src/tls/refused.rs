//! Whose certificate a handshake refused.
//!
//! rustls has no room for a name in the errors that TLS has an alert for. A verifier runs inside a
//! poll of its own handshake, so what it leaves for its thread is picked up by that poll, and by no
//! other.

use std::cell::RefCell;
use std::pin::pin;

use countersign_model::SpiffeId;

thread_local! {
    static REFUSED: RefCell<Option<SpiffeId>> = const { RefCell::new(None) };
}

/// Left by a verifier that refuses a certificate which a bundle of ours vouches for, now or while
/// it was valid. That the peer has its key was not shown: a name for logs, and no proof.
pub(super) fn leave(id: SpiffeId) {
    REFUSED.set(Some(id));
}

/// Runs a handshake, and tells whose certificate it refused, where a bundle of ours vouches for it.
pub async fn refused_peer<T>(handshake: impl Future<Output = T>) -> (T, Option<SpiffeId>) {
    let mut handshake = pin!(handshake);
    let mut refused = None;
    let done = std::future::poll_fn(|cx| {
        REFUSED.set(None);
        let polled = handshake.as_mut().poll(cx);
        if let Some(id) = REFUSED.take() {
            refused = Some(id);
        }
        polled
    })
    .await;
    (done, refused)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn id(path: &str) -> SpiffeId {
        SpiffeId::new(&format!("spiffe://example.org{path}")).unwrap()
    }

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Two handshakes that take turns on one thread, each refused before its last turn.
    #[test]
    fn each_handshake_has_its_own_name() {
        let refusing = |path: &'static str| {
            let mut turn = 0;
            refused_peer(std::future::poll_fn(move |_| {
                turn += 1;
                if turn == 2 {
                    leave(id(path));
                }
                if turn == 3 {
                    Poll::Ready(path)
                } else {
                    Poll::Pending
                }
            }))
        };
        let (mut a, mut b) = (pin!(refusing("/a")), pin!(refusing("/b")));
        let mut good = pin!(refused_peer(std::future::ready("good")));
        for _ in 0..2 {
            assert!(poll(a.as_mut()).is_pending() && poll(b.as_mut()).is_pending());
        }
        // Left by whoever was no handshake of ours.
        leave(id("/nobody"));
        assert_eq!(poll(good.as_mut()), Poll::Ready(("good", None)));
        assert_eq!(poll(a.as_mut()), Poll::Ready(("/a", Some(id("/a")))));
        assert_eq!(poll(b.as_mut()), Poll::Ready(("/b", Some(id("/b")))));
    }
}
