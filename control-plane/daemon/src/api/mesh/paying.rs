//! Who pays for what callers make this process hold while their messages are unfinished.
//!
//! Strangers have a budget of their own, so that whatever they do takes nothing from a node. An
//! honest attestation fits one frame and is never charged at all.

use std::sync::Arc;

use countersign_serve::limits::MAX_MESSAGE_BYTES;
use countersign_serve::messages::{Account, ByteBudget, MessageBounds, Payer, Shares};
use countersign_serve::tls::TlsPeer;
use tonic::Extensions;

use super::bounded::MAX_ATTEST_BYTES;
use super::session::Sessions;

/// Of nodes: a message of the longest kind and as much again beside it for each, and half a hundred
/// of the longest at once.
const NODES: Shares = Shares {
    total: 48 * MAX_MESSAGE_BYTES,
    each: 2 * MAX_MESSAGE_BYTES,
};
/// Of strangers: so many attestations at once from one source, and from sixteen of them.
const STRANGERS: Shares = Shares {
    total: 16 * 64 * MAX_ATTEST_BYTES,
    each: 64 * MAX_ATTEST_BYTES,
};

/// The bounds of the sidecar API.
pub(super) fn messages(sessions: Arc<Sessions>) -> MessageBounds {
    let (nodes, strangers) = (ByteBudget::new(NODES), ByteBudget::new(STRANGERS));
    MessageBounds::paid_by(move |call| account(call, &sessions, &nodes, &strangers))
}

fn account(
    call: &Extensions,
    sessions: &Sessions,
    nodes: &Arc<ByteBudget>,
    strangers: &Arc<ByteBudget>,
) -> Account {
    match call.get::<TlsPeer>() {
        Some(peer) if sessions.is_recognised(peer) => match &peer.svid {
            Some(svid) => nodes.account(Payer::Identity(svid.id.clone())),
            None => strangers.account(Payer::source(peer.address.ip())),
        },
        Some(peer) => strangers.account(Payer::source(peer.address.ip())),
        None => strangers.account(Payer::unknown()),
    }
}
