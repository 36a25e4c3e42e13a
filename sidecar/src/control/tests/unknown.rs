//! Rights that came after the backup which the control plane was restored from: it knows none of
//! them, and sends no word of their end.

use super::*;
use crate::holdings::{Held, Svid};
use crate::pki::serial;

/// Holds a right of which the control plane was never told, due for renewal.
fn hold(node: &Node, right: &Entitlement, svid: Arc<Svid>) {
    let entitlement = Arc::new(Entitlement {
        min_key_epoch: 7,
        ..right.clone()
    });
    let held = Held {
        entitlement,
        svid: Some(svid),
        problem: None,
    };
    node.holdings.publish(|snapshot| {
        let mut entries = (*snapshot.entries).clone();
        entries.insert(right.id.clone(), held);
        snapshot.entries = Arc::new(entries);
    });
}

#[tokio::test]
async fn unknown_right_is_served_to_its_end() {
    let (plane, folder) = world().await;
    let (mut node, control) = Node::ready(&plane, &folder);
    let (old, web) = (right('1', "/old", 1), right('2', "/web", 2));
    let expired = plane.authority.expired(&id("/old"), serial(0x1001));
    hold(&node, &old, Arc::new(expired));
    let served = plane.authority.svid(&id("/web"), serial(0x1002));
    hold(&node, &web, Arc::clone(&served));
    node.task = tokio::spawn(control.run());
    let held = |right: &Entitlement| node.holdings.load().entries.get(&right.id).cloned();
    until(|| held(&old).is_none()).await;
    let is_told = |held: Held| {
        held.problem
            .is_some_and(|why| why.contains("no such entitlement"))
    };
    until(|| held(&web).is_some_and(is_told)).await;
    assert_eq!(node.serial(&web.id), Some(served.serial));
}
