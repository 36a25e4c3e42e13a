use std::collections::BTreeSet;

use countersign_envoy::SECRET_TYPE;
use countersign_model::{EntitlementId, Serial};
use countersign_proto::ENTITLEMENT_TYPE;
use rcgen::KeyPair;

use super::super::testing::{attested, proven, running};
use super::*;

const BUNDLE: &str = "spiffe://example.org";

fn registration(digit: char) -> EntitlementId {
    EntitlementId::parse(&format!("reg-{}", String::from(digit).repeat(32))).unwrap()
}

/// What a node that attested sees, by type and name, and every name that each of these events touches.
async fn told(
    events: &[Event],
) -> (
    Vec<(&'static str, String)>,
    Vec<BTreeSet<(&'static str, String)>>,
) {
    let folder = tempfile::tempdir().unwrap();
    let running = running(folder.path()).await;
    let key = proven(&KeyPair::generate().unwrap());
    let (node, _) = attested(running.plane(), &key).await;
    let viewer = Viewer {
        authority: &running.plane().authority,
        node: node.id(),
    };
    let mut seen = Vec::new();
    for kind in KINDS {
        for name in kind.names(viewer) {
            let standing = kind.standing(&name, viewer);
            assert!(matches!(standing, Some(Standing::Present(_))), "{name}");
            let same = of_type(kind.type_url()).filter(|it| it.has_name(&name, viewer));
            assert_eq!(same.count(), 1, "{name} is of one kind");
            seen.push((kind.type_url(), name.to_string()));
        }
    }
    let touched = events.iter().map(|event| {
        let mut names = BTreeSet::new();
        for kind in KINDS {
            let mut touch = |name: &str| {
                names.insert((kind.type_url(), name.to_owned()));
            };
            kind.touched(event, viewer, &mut touch);
        }
        names
    });
    let touched = touched.collect();
    running.drain().await;
    (seen, touched)
}

#[tokio::test(flavor = "multi_thread")]
async fn change_touches_what_it_concerns_alone() {
    let (web, db) = (registration('a'), registration('b'));
    let node = SpiffeId::new("spiffe://example.org/node/a").unwrap();
    let events = [
        Event::Entitlement(node.clone(), web.clone()),
        Event::Svid(node, db.clone()),
        Event::Bundle,
        Event::Authorities,
    ];
    let (seen, touched) = told(&events).await;
    let of = |names: &[(&'static str, &str)]| -> BTreeSet<_> {
        names
            .iter()
            .map(|(of, name)| (*of, (*name).to_owned()))
            .collect()
    };
    let own = of(&[
        (ENTITLEMENT_TYPE, "node"),
        (SECRET_TYPE, "node"),
        (SECRET_TYPE, BUNDLE),
    ]);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), own);
    let chain_goes_with_it = [
        (ENTITLEMENT_TYPE, web.as_str()),
        (SECRET_TYPE, web.as_str()),
    ];
    assert_eq!(touched[0], of(&chain_goes_with_it));
    assert_eq!(touched[1], of(&[(SECRET_TYPE, db.as_str())]));
    assert_eq!(touched[2], of(&[(SECRET_TYPE, BUNDLE)]));
    assert_eq!(touched[3], of(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgement_means_what_its_kind_says() {
    let folder = tempfile::tempdir().unwrap();
    let running = running(folder.path()).await;
    let key = proven(&KeyPair::generate().unwrap());
    let (node, _) = attested(running.plane(), &key).await;
    let viewer = Viewer {
        authority: &running.plane().authority,
        node: node.id(),
    };
    let fleet = Fleet::default();
    let heard = Heard {
        fleet: &fleet,
        now: Timestamp::UNIX_EPOCH,
    };
    let acknowledge = |type_url, name, version: &str| {
        let kind = of_name(type_url, name, viewer);
        kind.inspect(|kind| kind.acknowledged(name, version, viewer, heard))
            .is_some()
    };
    let serial = Serial::new(1 << 20, 1, [7; 8]).unwrap();
    let version = serial.to_string();
    assert!(acknowledge(ENTITLEMENT_TYPE, "node", &version));
    assert!(acknowledge(SECRET_TYPE, "node", "not a serial"));
    for (type_url, name) in [
        (ENTITLEMENT_TYPE, BUNDLE),
        (SECRET_TYPE, "spiffe://elsewhere.org"),
        ("of another type", "node"),
    ] {
        assert!(!acknowledge(type_url, name, &version), "{type_url} {name}");
    }
    let state = fleet.node(node.id());
    assert!(state.bundle.is_none() && state.acknowledged.is_empty());
    assert!(acknowledge(SECRET_TYPE, BUNDLE, "of the roots"));
    assert!(acknowledge(SECRET_TYPE, "node", &version));
    let state = fleet.node(node.id());
    assert_eq!(state.bundle.as_deref(), Some("of the roots"));
    assert_eq!(state.acknowledged, [(EntitlementId::node(), serial)].into());
    running.drain().await;
}
