//! A control plane whose data was put back from a copy.

use countersign_discovery::Stamp;

use super::*;

fn stamp(sequence: u64) -> Stamp {
    Stamp { epoch: 1, sequence }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_control_plane_is_told_and_asked_for_nothing() {
    let (plane, folder) = (Plane::start().await, tempfile::tempdir().unwrap());
    let web = right('1', "/web", 1);
    // It is asked for again and again.
    plane.refuse(&web.id);
    plane.entitle(&web);
    plane.answer_from(stamp(7));
    let node = Node::start(&plane, &folder);
    let serial = node.holds(&EntitlementId::node()).await;
    until(|| !plane.state().denied.is_empty()).await;
    plane.answer_from(stamp(2));
    plane.entitle(&right('2', "/db", 2));
    until(|| node.link.borrow().is_older).await;
    let asked = plane.state().asked.len();
    let problem = node.link.borrow().problem.clone().unwrap();
    assert!(
        problem.contains("answered from 1.3, older than 1."),
        "{problem}"
    );
    assert!(problem.contains("countersign restore"), "{problem}");
    let streams = plane.state().streams;
    until(|| plane.state().streams > streams + 2).await;
    assert_eq!(
        plane.state().asked.len(),
        asked,
        "nothing is certified that nobody takes"
    );
    assert_eq!(node.serial(&EntitlementId::node()), Some(serial));

    plane.refuse_known_keys_only();
    // The same state under a new epoch is taken.
    plane.answer_from(Stamp {
        epoch: 2,
        sequence: 1,
    });
    until(|| node.link.borrow().connected).await;
    assert!(!node.link.borrow().is_older);
    node.holds(&web.id).await;
    let said = plane.state().said.unwrap();
    assert!(said.epoch == 1 && said.sequence >= 7, "{said:?}");
    assert_eq!(said.newest_chain.len(), 1);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_lost_its_log_is_told_so() {
    let (plane, folder) = (Plane::start().await, tempfile::tempdir().unwrap());
    let node = Node::start(&plane, &folder);
    node.holds(&EntitlementId::node()).await;
    plane.forget_certificates();
    until(|| node.link.borrow().is_older).await;
    node.end().await;
}
