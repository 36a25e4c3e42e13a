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

/// The newest certificate of each lineage of CAs.
fn cas(plane: &Plane) -> BTreeSet<String> {
    let all = plane.authority.ledger.lineages(&Filter::default(), start());
    let cas = all.iter().filter(|it| it.profile.is_ca());
    cas.map(|it| it.newest.serial.to_string()).collect()
}

/// The signature of a CA of `a` comes when `b` has long written down what it knows, and no key is read again.
#[tokio::test]
async fn late_signature_of_a_ca_is_found_by_a_start() {
    let two = Two::new().await;
    two.a.authority.rotate_issuing(after(1)).await.unwrap();
    let listed = async {
        while cas(&two.a) != cas(&two.b) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, listed).await.unwrap();
    let all = cas(&two.a);
    let Two { _database, a, b } = two;
    _database.sql(
        "CREATE TABLE public.late AS SELECT * FROM countersign.log_signatures \
         ORDER BY seq DESC, leaf_index DESC LIMIT 1; \
         DELETE FROM countersign.log_signatures AS s USING public.late AS l \
         WHERE s.log_id = l.log_id AND s.leaf_index = l.leaf_index",
    );
    let b = b.crash(after(2)).await;
    assert_ne!(cas(&b), all, "one is not signed yet");
    for _ in 0..2 {
        let saved = b.authority.save_inventory(after(1_200), false).await;
        saved.unwrap();
    }
    _database.sql("INSERT INTO countersign.log_signatures SELECT * FROM public.late");
    let b = b.crash(after(1_300)).await;
    assert_eq!(cas(&b), all);
    drop(a);
}
