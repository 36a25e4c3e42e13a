//! The share that one holder has of the table of keys.

use super::manual::{manual, sign};
use super::*;

/// A share that is soon taken.
const SHARE: u32 = 2;

/// A node with two registrations, and the share of one of them taken.
struct Scene {
    plane: Plane,
    node: AttestedNode,
    web: EntitlementId,
    pay: EntitlementId,
}

impl Scene {
    async fn new() -> Self {
        let plane = Plane::new().await;
        let web = plane.register(registration("/web", "/node/a")).await;
        let pay = plane.register(registration("/pay", "/node/a")).await;
        let node = plane.attest("/node/a").await;
        let scene = Self {
            plane,
            node,
            web,
            pay,
        };
        scene.bound();
        scene.fill(&scene.web).await;
        scene
    }

    fn bound(&self) {
        let mut state = self.plane.authority.state.write();
        state.keys.take_of_one_at_most(SHARE);
    }

    async fn fill(&self, entitlement: &EntitlementId) {
        for _ in 0..SHARE {
            self.plane.enrol(&self.node, entitlement).await;
        }
    }

    /// One more key of an entitlement is refused before anything is logged.
    async fn is_taken(&self, entitlement: &EntitlementId, now: Timestamp) {
        let authority = &self.plane.authority;
        let (key, from) = (
            proven(&fresh_key(), entitlement),
            authority.ledger.log().size(),
        );
        let refused = authority.enrol(&self.node, entitlement, &key, now).await;
        tells_of_the_share(&refused.unwrap_err());
        assert_eq!(authority.ledger.log().size(), from, "nothing was logged");
    }

    fn held(&self) -> impl Eq + std::fmt::Debug + use<> {
        let [held, _] = self.plane.authority.state.read().keys.shares();
        held
    }
}

fn tells_of_the_share(refused: &AuthorityError) {
    let is_share = matches!(refused, AuthorityError::KeyShareTaken { most: SHARE });
    assert!(is_share, "{refused}");
    assert!(refused.to_string().contains("of this entitlement"));
}

#[tokio::test]
async fn share_refuses_its_holder_alone() {
    let scene = Scene::new().await;
    let Scene {
        plane, node, web, ..
    } = &scene;
    scene.is_taken(web, start()).await;
    plane.enrol(node, &scene.pay).await;
    plane.enrol(node, &EntitlementId::node()).await;
    plane.register(registration("/web", "/node/b")).await;
    let other = plane.attest("/node/b").await;
    let its_web = plane.authority.entitlements(other.id()).remove(1);
    plane.enrol(&other, &its_web.id).await;
}

#[tokio::test]
async fn share_comes_free_when_certificates_end() {
    let scene = Scene::new().await;
    let authority = &scene.plane.authority;
    let ended = after(3_601);
    scene.is_taken(&scene.web, ended).await;
    authority.tick(ended).await.unwrap();
    let key = proven(&fresh_key(), &scene.web);
    let enrolled = authority.enrol(&scene.node, &scene.web, &key, ended).await;
    enrolled.unwrap();
}

#[tokio::test]
async fn known_key_needs_no_share() {
    let scene = Scene::new().await;
    let (authority, key) = (&scene.plane.authority, proven(&fresh_key(), &scene.pay));
    let enrol = async || {
        let enrolled = authority.enrol(&scene.node, &scene.pay, &key, start());
        enrolled.await.unwrap().serial
    };
    let serial = enrol().await;
    scene.plane.enrol(&scene.node, &scene.pay).await;
    scene.is_taken(&scene.pay, start()).await;
    assert_eq!(enrol().await, serial);
}

#[tokio::test]
async fn share_is_found_again_after_a_restart() {
    let mut scene = Scene::new().await;
    scene.plane.enrol(&scene.node, &scene.pay).await;
    let held = scene.held();
    scene.plane = scene.plane.crash(after(1)).await;
    assert_eq!(scene.held(), held, "after a crash");
    scene.plane = scene.plane.restart(after(2)).await;
    assert_eq!(scene.held(), held, "after a restart");
    scene.bound();
    scene.is_taken(&scene.web, after(3)).await;
    scene.plane.enrol(&scene.node, &scene.pay).await;
}

#[tokio::test]
async fn identity_signed_by_hand_has_a_share() {
    let mut scene = Scene::new().await;
    for workload in ["/plc", "/other"] {
        scene.plane.register(manual(workload)).await;
    }
    for _ in 0..SHARE {
        sign(&scene.plane, "/plc", &fresh_key(), 0).await.unwrap();
    }
    let refused = sign(&scene.plane, "/plc", &fresh_key(), 0).await;
    tells_of_the_share(&refused.unwrap_err());
    sign(&scene.plane, "/other", &fresh_key(), 0).await.unwrap();
    let held = scene.held();
    scene.plane = scene.plane.crash(after(1)).await;
    assert_eq!(scene.held(), held);
}

#[tokio::test]
async fn room_for_a_node_counts_its_share() {
    let scene = Scene::new().await;
    scene.fill(&EntitlementId::node()).await;
    let authority = &scene.plane.authority;
    tells_of_the_share(&authority.check_room(scene.node.id()).unwrap_err());
    authority.check_room(&id("/node/b")).unwrap();
}
