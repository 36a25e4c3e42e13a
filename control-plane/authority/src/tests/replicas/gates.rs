//! The gate of a root counts the consumers of all of them.

use countersign_fleet::gate::{GateOpen, Waived};
use countersign_fleet::{Acknowledged, Consumers, Fleet, elsewhere};

use super::*;
use crate::state::Change;

impl Two {
    /// Tells the other one what a control plane knows of its nodes, as its daemon does.
    async fn tell(&self, by: &Plane, fleet: &Fleet, now: Timestamp) {
        let authority = &by.authority;
        let rows = elsewhere::due(
            &authority.nodes(),
            (authority.hub(), fleet),
            (authority.replica_name(), authority.bundle().0.version()),
            |node| authority.acknowledged(node),
            now,
        );
        authority.tell_acknowledged(rows).await.unwrap();
        self.agree().await;
    }

    /// Whom the gate of one waits for.
    fn waiting(by: &Plane, now: Timestamp) -> Vec<String> {
        let authority = &by.authority;
        let version = authority.bundle().0.version().to_owned();
        let fleet = Fleet::default();
        let seen = Consumers::take(&authority.nodes(), (authority.hub(), &fleet), |node| {
            authority.acknowledged_elsewhere(node, &version)
        });
        seen.waiting_for(&version, &Waived::default(), now)
    }
}

#[tokio::test]
async fn gate_of_one_replica_counts_the_consumers_of_the_other() {
    let two = Two::new().await;
    let (a, b, fleet) = (&two.a, &two.b, Fleet::default());
    assert!(a.authority.is_shared() && b.authority.is_shared());
    let node = a.attest("/node/a").await;
    let own = a.enrol(&node, &EntitlementId::node()).await;
    two.shown(b, &own).await;
    a.authority.prepare_root(after(1)).await.unwrap();
    two.agree().await;
    let (id, version) = (node.id(), b.authority.bundle().0.version().to_owned());
    let _stream = b.authority.hub().join(id);
    fleet.joined(id, after(1));
    two.tell(b, &fleet, after(1)).await;
    assert_eq!(Two::waiting(a, after(1)), [format!("{id} proxy")]);
    let told = a.authority.acknowledged_elsewhere(id, &version).unwrap();
    assert_eq!(told.replica, "b");
    fleet.bundle_acknowledged(id, &version, after(2));
    two.tell(b, &fleet, after(2)).await;
    assert_eq!(Two::waiting(a, after(2)), [""; 0]);
    // A start finds it again; what is said of another bundle, or by oneself, is nothing.
    let a = two.a.restart(after(2)).await;
    assert_eq!(Two::waiting(&a, after(2)), [""; 0]);
    assert_eq!(a.authority.acknowledged_elsewhere(id, "another"), None);
    assert_eq!(b.authority.acknowledged_elsewhere(id, &version), None);
}

#[tokio::test]
async fn row_of_a_replica_that_is_none_counts_for_nothing() {
    let two = Two::new().await;
    let (a, id) = (&two.a.authority, id("/node/a"));
    two.a.authority.prepare_root(after(1)).await.unwrap();
    let version = a.bundle().0.version().to_owned();
    let row = |replica: &str| Acknowledged {
        replica: replica.to_owned(),
        bundle_version: version.clone(),
        connected: true,
        waiting: Vec::new(),
        more: 0,
    };
    a.tell_acknowledged(vec![(id.clone(), row("b"))])
        .await
        .unwrap();
    assert!(a.acknowledged_elsewhere(&id, &version).is_some());
    a.tell_acknowledged(vec![(id.clone(), row("nobody"))])
        .await
        .unwrap();
    assert_eq!(a.acknowledged_elsewhere(&id, &version), None);
    let sealed = Replica::Sealed {
        log_id: 7,
        since: start(),
        size: 0,
        root_hash: String::new(),
    };
    let sealed = vec![Change::Replica("b".to_owned(), Some(sealed))];
    a.change_unlogged(sealed, Vec::new()).await.unwrap();
    a.tell_acknowledged(vec![(id.clone(), row("b"))])
        .await
        .unwrap();
    assert_eq!(a.acknowledged_elsewhere(&id, &version), None);
}

#[tokio::test]
async fn acknowledgements_are_forgotten_with_their_root() {
    let two = Two::new().await;
    let (a, id) = (&two.a.authority, id("/node/a"));
    a.prepare_root(after(1)).await.unwrap();
    let version = a.bundle().0.version().to_owned();
    let row = Acknowledged {
        replica: "b".to_owned(),
        bundle_version: version.clone(),
        connected: true,
        waiting: Vec::new(),
        more: 0,
    };
    a.tell_acknowledged(vec![(id.clone(), row)]).await.unwrap();
    a.tick(after(2)).await.unwrap();
    two.agree().await;
    assert!(two.b.authority.acknowledged(&id).is_some());
    let gate = GateOpen::for_test(&version);
    a.activate_root(gate, after(3)).await.unwrap();
    a.tick(after(4)).await.unwrap();
    two.agree().await;
    for plane in [&two.a, &two.b] {
        assert_eq!(plane.authority.acknowledged(&id), None);
    }
}
