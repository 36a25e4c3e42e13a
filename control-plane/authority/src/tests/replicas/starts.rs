//! What a start reads of the logs of several control planes.

use countersign_inventory::Filter;

use super::*;

/// What is listed, and how many certificates each lineage had.
fn listed(plane: &Plane) -> Vec<String> {
    let all = plane.authority.ledger.lineages(&Filter::default(), start());
    all.iter().map(|it| format!("{it:?}")).collect()
}

async fn enrol_at(
    plane: &Plane,
    node: &AttestedNode,
    entitlement: &EntitlementId,
    now: Timestamp,
) -> Arc<PublishedSvid> {
    let key = proven(&fresh_key(), entitlement);
    let enrolled = plane.authority.enrol(node, entitlement, &key, now);
    enrolled.await.unwrap()
}

/// What ended before the inventory was written down is not read any more: here it is gone.
#[tokio::test]
async fn start_reads_the_newest_part_of_all_logs() {
    let two = Two::new().await;
    let (a, b) = (&two.a, &two.b);
    let web = a.register(registration("/web", "/node/a")).await;
    let api = b.register(registration("/api", "/node/b")).await;
    two.agree().await;
    let (of_a, of_b) = (a.attest("/node/a").await, b.attest("/node/b").await);
    a.enrol(&of_a, &web).await;
    b.enrol(&of_b, &api).await;
    let theirs = enrol_at(a, &of_a, &web, after(5_000)).await;
    let own = enrol_at(b, &of_b, &api, after(5_000)).await;
    two.agree().await;
    two.shown(b, &theirs).await;
    for _ in 0..2 {
        let saved = b.authority.save_inventory(after(5_001), false).await;
        saved.unwrap();
    }
    let newest = enrol_at(a, &of_a, &web, after(5_002)).await;
    two.shown(b, &newest).await;
    let before = listed(b);

    let first = theirs.order.min(own.order);
    let gone = format!("DELETE FROM countersign.log_entries WHERE seq < {first} RETURNING 1");
    let Two { _database, a, b } = two;
    let gone = _database.sql(&gone);
    assert!(format!("{gone:?}").len() > 20, "{gone:?}");
    let b = b.crash(after(5_003)).await;
    assert_eq!(listed(&b), before);
    for (node, entitlement, svid) in [(&of_a, &web, &newest), (&of_b, &api, &own)] {
        let found = b.authority.published(node.id(), entitlement).unwrap();
        assert_eq!(found.serial, svid.serial);
    }
    drop(a);
}
