use super::*;

/// Ends so many seconds after the start.
fn until(secs: i64) -> Registration {
    let mut wanted = registration("/web", "/node/a");
    wanted.expires_at = Some(after(secs));
    wanted
}

#[tokio::test]
async fn certificate_never_outlives_its_registration() {
    let plane = Plane::new().await;
    let web = plane.register(until(600)).await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &web).await;
    let end = svid.lifetime.not_after;
    assert!(end <= after(600) && end >= after(598), "{end}");
    let enrol = async |secs| {
        let key = proven(&fresh_key(), &web);
        plane.authority.enrol(&node, &web, &key, after(secs)).await
    };
    enrol(570).await.unwrap();
    for secs in [590, 600, 700] {
        assert_eq!(code(enrol(secs).await), "registration_expired", "{secs}");
    }
    assert_eq!(plane.authority.refused_count(after(590)), 1);
}

#[tokio::test]
async fn ended_registration_goes_as_if_unregistered() {
    let plane = Plane::new().await;
    let web = plane.register(until(600)).await;
    plane.register(registration("/db", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &web).await;
    let stream = plane.authority.hub().join(&id("/node/a"));
    plane.authority.tick(after(599)).await.unwrap();
    assert_eq!(plane.authority.registration_count(), 2);
    plane.authority.tick(after(600)).await.unwrap();
    assert_eq!(entitlements(&stream.news().await), [web.clone()].into());
    assert_eq!(plane.authority.registration_count(), 1);
    assert!(plane.authority.was_removed(&id("/node/a"), &web));
    assert!(plane.authority.published(&id("/node/a"), &web).is_none());
    let plane = plane.restart(after(700)).await;
    assert_eq!(plane.authority.registration_count(), 1);
    assert!(plane.authority.was_removed(&id("/node/a"), &web));
}

#[tokio::test]
async fn end_that_passed_while_down_counts() {
    let plane = Plane::new().await;
    let web = plane.register(until(600)).await;
    let plane = plane.restart(after(700)).await;
    assert_eq!(plane.authority.registration_count(), 0);
    assert!(plane.authority.was_removed(&id("/node/a"), &web));
}

#[tokio::test]
async fn update_moves_the_end_and_keeps_the_key() {
    let plane = Plane::new().await;
    let web = plane.register(until(600)).await;
    let epoch = || plane.authority.entitlements(&id("/node/a"))[0].min_key_epoch;
    for wanted in [until(1_200), registration("/web", "/node/a"), until(900)] {
        plane.register(wanted).await;
        assert_eq!(epoch(), 0, "the end is not in the certificate");
    }
    plane.authority.tick(after(600)).await.unwrap();
    plane.authority.tick(after(899)).await.unwrap();
    assert_eq!(plane.authority.registration_count(), 1);
    plane.authority.tick(after(900)).await.unwrap();
    assert!(plane.authority.was_removed(&id("/node/a"), &web));
}

#[tokio::test]
async fn end_in_the_past_is_refused() {
    let plane = Plane::new().await;
    for secs in [-1, 0, 19] {
        assert_eq!(plane.refused(until(secs)).await, "registration_expired");
    }
}

#[tokio::test]
async fn labels_leave_the_key_alone_and_are_bounded() {
    let plane = Plane::new().await;
    plane.register(registration("/web", "/node/a")).await;
    let labelled = |pairs: &[(&str, &str)]| {
        let mut wanted = registration("/web", "/node/a");
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        wanted.labels = pairs.iter().map(owned).collect();
        wanted
    };
    let mut wanted = labelled(&[("env", "prod"), ("example.org/tier_1-a", "'; DROP -- Ω")]);
    wanted.criticality = Criticality::Critical;
    plane.register(wanted.clone()).await;
    let epoch = plane.authority.entitlements(&id("/node/a"))[0].min_key_epoch;
    assert_eq!(epoch, 0, "labels are not in the certificate");
    let (long_key, long_value) = ("k".repeat(64), "v".repeat(129));
    for bad in [
        [("", "x")],
        [("Env", "x")],
        [("a b", "x")],
        [("ü", "x")],
        [("env", "a\nb")],
        [("env", "\u{7f}")],
        [(&long_key, "x")],
        [("env", &long_value)],
    ] {
        assert_eq!(
            plane.refused(labelled(&bad)).await,
            "label_invalid",
            "{bad:?}"
        );
    }
    let keys: Vec<_> = (0..17).map(|n| n.to_string()).collect();
    let many: Vec<_> = keys.iter().map(|key| (key.as_str(), "x")).collect();
    assert_eq!(plane.refused(labelled(&many)).await, "label_invalid");
    let plane = plane.restart(after(1)).await;
    assert_eq!(plane.authority.registrations()[0].labels, wanted.labels);
}
