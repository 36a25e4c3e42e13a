use super::*;
use crate::Method;

fn stored() -> StoredNode {
    serde_json::from_str(r#"{"attested_at":"1970-01-01T00:00:00Z"}"#).unwrap()
}

fn verdict() -> crate::attestor::Attestation {
    crate::attestor::join_token::tests::verdict(id(0))
}

fn id(n: usize) -> SpiffeId {
    SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap()
}

#[test]
fn nodes_are_bounded_and_forgotten() {
    let (mut nodes, stored) = (Nodes::default(), stored());
    for n in 0..MAX_NODES {
        assert!(nodes.has_room_for(&id(n)));
        nodes.written(&id(n), stored.clone(), Seq(n as u64));
    }
    assert!(!nodes.has_room_for(&id(MAX_NODES)) && nodes.has_room_for(&id(7)));
    let (kept, end) = (id(3), Timestamp::UNIX_EPOCH + REMEMBERED);
    nodes.credited(&kept, Timestamp::UNIX_EPOCH + Duration::from_secs(2));
    assert_eq!(nodes.forgettable(end).count(), 0);
    let over: Vec<_> = nodes.forgettable(end + Duration::from_secs(1)).collect();
    // It attested anew while what is over was being removed from the store.
    nodes.written(&id(5), stored, Seq(u64::MAX));
    for (id, seq) in over {
        nodes.forget(&id, Seq(seq.0 + 1));
    }
    assert!(nodes.contains(&kept) && nodes.contains(&id(5)));
    assert_eq!(nodes.count(), 2);
    assert!(
        nodes.known.capacity() < MAX_NODES / 16,
        "{}",
        nodes.known.capacity()
    );
}

#[test]
fn what_came_before_an_eviction_has_ended() {
    let now = Timestamp::UNIX_EPOCH;
    // Attested by commit 3, put out by 7, back by 10, and once more by 20.
    let evicted = stored().evicted("key copied", now);
    assert!(evicted.has_ended(Seq(3)) && evicted.has_ended(Seq(7)));
    let back = verdict().stored(Some((&evicted, Seq(7))), now);
    assert!(back.has_ended(Seq(3)) && !back.has_ended(Seq(10)));
    let again = verdict().stored(Some((&back, Seq(10))), now);
    assert!(again.has_ended(Seq(3)));
    assert!(!again.has_ended(Seq(10)), "no eviction ended it");
}

/// A certificate of an older version names no lineage.
#[test]
fn lineage_is_told_by_time_where_none_is_named() {
    let (id, mut nodes) = (id(1), Nodes::default());
    let at = |second| Timestamp::from_second(second).unwrap();
    nodes.written(&id, verdict().stored(None, at(60)), Seq(5));
    assert_eq!(nodes.lineage_at(&id, at(59)), None);
    assert_eq!(nodes.lineage_at(&id, at(60)), Some(Seq(5)));
}

/// Two certificates that another control plane logged and could not sign.
#[test]
fn void_certificates_of_another_displace_no_key() {
    let (id, mut nodes) = (id(1), Nodes::default());
    nodes.written(&id, stored(), Seq(5));
    let key = |n: u8| NodeKey {
        lineage: Seq(5),
        order: n.into(),
        spki_sha256: [n; 32],
        serial: Serial::new(1 << 20, n.into(), [7; 8]).unwrap(),
    };
    nodes.certified(&id, key(1));
    for n in 2..4 {
        nodes.logged(&id, key(n));
        assert!(
            nodes.recognise(&id, &[n; 32]).is_some(),
            "it may have been given"
        );
        nodes.voided(&id, &key(n).serial);
        assert!(nodes.recognise(&id, &[n; 32]).is_none());
    }
    assert!(nodes.recognise(&id, &[1; 32]).is_some());
    nodes.logged(&id, key(4));
    nodes.certified(&id, key(4));
    assert_eq!(nodes.newest_key(&id).map(|it| it.order), Some(4));
    nodes.written(&id, stored(), Seq(9));
    assert!(nodes.recognise(&id, &[4; 32]).is_none(), "it attested anew");
}

/// The state that was restored knows as many keys of the node as are recognised.
#[test]
fn adopted_key_displaces_the_oldest() {
    let (id, mut nodes) = (id(1), Nodes::default());
    nodes.written(&id, stored(), Seq(5));
    let serial = |n: u8| Serial::new(1 << 20, n.into(), [7; 8]).unwrap();
    for n in 1..3 {
        nodes.certified(
            &id,
            NodeKey {
                lineage: Seq(5),
                order: n.into(),
                spki_sha256: [n; 32],
                serial: serial(n),
            },
        );
    }
    let certified_at = Timestamp::from_second(60).unwrap();
    assert!(nodes.adopt(&id, (serial(3), [3; 32]), Seq(9), certified_at));
    assert!(nodes.recognise(&id, &[2; 32]).is_some());
    assert!(nodes.recognise(&id, &[1; 32]).is_none());
    assert!(
        !nodes.adopt(&id, (serial(4), [4; 32]), Seq(5), certified_at),
        "it attested since"
    );
}

#[test]
fn lineage_is_numbered_by_its_commit() {
    let id = SpiffeId::new("spiffe://example.org/node/a").unwrap();
    let mut nodes = Nodes::default();
    // As seen by memory: the earlier commit after the later one.
    nodes.written(&id, stored(), Seq(11));
    nodes.written(&id, stored(), Seq(10));
    let of = |lineage| AttestedNode::new(id.clone(), Method::JoinToken, Seq(lineage));
    let (later, earlier) = (of(11), of(10));
    assert!(nodes.is_current(&later) && !nodes.is_current(&earlier));
    assert_eq!(nodes.of_lineage(&id, Seq(11)), Some(later));
    assert_eq!(nodes.of_lineage(&id, Seq(10)), None);
    assert!(nodes.is_earlier(&id, Some(Seq(10))) && nodes.is_earlier(&id, None));
    assert!(!nodes.is_earlier(&id, Some(Seq(11))));
}
