use countersign_attest::Method;
use countersign_registry::Filter;
use countersign_registry::policy::{PathPattern, Rule, Scope};

use super::*;

fn pay() -> Policy {
    let pattern = |path| vec![PathPattern::parse(path).unwrap()];
    Policy::new(vec![Rule {
        name: "pay".to_owned(),
        scope: Scope::Nodes {
            nodes: pattern("/node/pay/*"),
            attestor: Some(Method::JoinToken),
        },
        ids: pattern("/pay/**"),
        ttl: MINUTE..=Duration::from_secs(3_600),
        dns: Vec::new(),
        owners: Vec::new(),
        expires_within: None,
    }])
}

/// Starts again with another policy.
async fn under(plane: Plane, policy: Policy, now: Timestamp) -> Plane {
    let Plane { dir, authority } = plane;
    let mut settings = authority.settings.clone();
    settings.policy = policy;
    authority.flush(start()).await.unwrap();
    drop(authority);
    let authority = Authority::open(settings, now).await.unwrap();
    Plane { dir, authority }
}

#[tokio::test]
async fn policy_is_judged_at_registration() {
    let plane = Plane::with(|settings| settings.policy = pay()).await;
    plane
        .register(registration("/pay/api", "/node/pay/1"))
        .await;
    let foreign = registration("/pay/api", "/node/web/1");
    assert_eq!(plane.refused(foreign).await, "policy_no_rule");
    let mut long = registration("/pay/long", "/node/pay/1");
    long.x509_ttl = Some(Duration::from_secs(7_200));
    assert_eq!(plane.refused(long).await, "policy_ttl");
    let mut named = registration("/pay/named", "/node/pay/1");
    named.dns = vec!["web.local".to_owned()];
    assert_eq!(plane.refused(named).await, "policy_dns");
    assert_eq!(plane.authority.registration_count(), 1);
}

#[tokio::test]
async fn stricter_policy_stops_what_was_registered_before() {
    let plane = Plane::new().await;
    let mut wanted = registration("/pay/api", "/node/pay/1");
    wanted.x509_ttl = Some(Duration::from_secs(7_200));
    let api = plane.register(wanted).await;
    let other = plane.register(registration("/pay/db", "/node/pay/1")).await;
    let node = plane.attest("/node/pay/1").await;
    plane.enrol(&node, &api).await;
    assert_eq!(plane.authority.refused_count(start()), 0);

    let plane = under(plane, pay(), after(1)).await;
    let key = proven(&fresh_key(), &api);
    let refused = plane.authority.enrol(&node, &api, &key, after(2)).await;
    let Err(AuthorityError::Denied(denied)) = refused else {
        panic!("not denied: {refused:?}");
    };
    assert_eq!(denied.code, "policy_ttl");
    assert!(denied.message.contains("rule pay"), "{denied}");
    plane.enrol(&node, &other).await;
    plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(plane.authority.refused_count(after(2)), 1);
    let (judged, _) = plane
        .authority
        .judged_page(&Filter::default(), None, after(2));
    let refused: Vec<_> = judged.iter().filter(|(_, why)| why.is_some()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0.key.entitlement_id(), api);

    let plane = under(plane, Policy::default(), after(3)).await;
    let key = proven(&fresh_key(), &api);
    plane
        .authority
        .enrol(&node, &api, &key, after(4))
        .await
        .unwrap();
}
