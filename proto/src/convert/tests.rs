//! Round trips, refusals by field, and arbitrary bytes.

mod messages;

use std::time::Duration;

use countersign_discovery::{
    DeltaRequest, DeltaResponse, Nack, NackReason, Resource, StateRequest, StateResponse,
};
use countersign_model::{
    Entitlement, EntitlementId, EntitlementKind, Hint, RenewalWindow, Selector, SelectorSet,
    SpiffeId,
};
use jiff::Timestamp;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::convert::entitlement::{read_resource, resource};
use crate::convert::time::*;
use crate::{discovery as wire, mesh};

const REGISTERED: &str = "reg-0123456789abcdef0123456789abcdef";

fn entitlement() -> Entitlement {
    let selectors = [Selector::UnixUid(1000), Selector::UnixPath("/bin/x".into())];
    Entitlement {
        id: EntitlementId::parse(REGISTERED).unwrap(),
        spiffe_id: SpiffeId::new("spiffe://example.org/web").unwrap(),
        kind: EntitlementKind::Workload(SelectorSet::new(selectors).unwrap()),
        lifetime: Duration::from_secs(3_600),
        renew: RenewalWindow::default(),
        min_key_epoch: 7,
        hint: Some(Hint::try_from("internal".to_owned()).unwrap()),
        is_default: true,
        created_at: Timestamp::new(1_700_000_000, 5).unwrap(),
        created_seq: 42,
        backdate: Duration::from_secs(60),
    }
}

fn node() -> Entitlement {
    Entitlement {
        id: EntitlementId::node(),
        kind: EntitlementKind::Node,
        hint: None,
        ..entitlement()
    }
}

fn refused(change: impl FnOnce(&mut mesh::Entitlement)) -> ConvertError {
    let mut message = mesh::Entitlement::from(&entitlement());
    change(&mut message);
    message.named(entitlement().id).unwrap_err()
}

#[test]
fn entitlements_survive_the_wire() {
    for entitlement in [entitlement(), node()] {
        assert_eq!(read_resource(&resource(&entitlement)), Ok(entitlement));
    }
}

#[test]
fn entitlement_versions_follow_content() {
    let changed = Entitlement {
        min_key_epoch: 8,
        ..entitlement()
    };
    assert_eq!(
        resource(&entitlement()).version,
        resource(&entitlement()).version
    );
    assert_ne!(resource(&entitlement()).version, resource(&changed).version);
}

#[test]
fn a_refusal_names_its_field() {
    assert_eq!(
        refused(|m| m.spiffe_id = "spiffe://example.org".into()).field,
        "spiffe_id"
    );
    assert_eq!(refused(|m| m.lifetime = None).problem, Problem::Missing);
    assert_eq!(refused(|m| m.renew_at = f64::NAN).field, "renew_at");
    assert_eq!(refused(|m| m.selectors.clear()).field, "selectors");
    assert_eq!(refused(|m| m.created_at = None).field, "created_at");
    assert_eq!(refused(|m| m.hint = "\n".into()).field, "hint");
    let limit = 16;
    let many = refused(|m| m.selectors = vec!["unix:uid:1".into(); 17]);
    assert_eq!(many.problem, Problem::TooLong { limit });
    let long = refused(|m| m.selectors = vec!["x".repeat(1_025)]);
    assert_eq!(long.to_string(), "field selectors: longer than 1024");
}

#[test]
fn an_untold_backdate_is_a_minute() {
    let read = |backdate| {
        let mut message = mesh::Entitlement::from(&entitlement());
        message.backdate = backdate;
        let read = message.named(entitlement().id);
        read.map(|entitlement| entitlement.backdate.as_secs())
    };
    let secs = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    assert_eq!(read(None), Ok(60), "from an older control plane");
    assert_eq!(read(secs(0)), Ok(0));
    assert_eq!(read(secs(600)), Ok(600));
    assert_eq!(read(secs(-1)).unwrap_err().field, "backdate");
}

#[test]
fn a_node_has_no_selectors() {
    let message = mesh::Entitlement::from(&entitlement());
    assert_eq!(
        message.named(EntitlementId::node()).unwrap_err().field,
        "selectors"
    );
}

#[test]
fn foreign_resources_are_no_entitlements() {
    let good = resource(&entitlement());
    let other = |type_url: &str, name: &str, body: Vec<u8>| {
        let read = read_resource(&Resource::hashed(type_url, name, body.into()));
        read.unwrap_err().field
    };
    assert_eq!(other("other", REGISTERED, good.body.to_vec()), "type_url");
    assert_eq!(other(&good.type_url, "../node", good.body.to_vec()), "name");
    assert_eq!(other(&good.type_url, REGISTERED, vec![0xff; 8]), "resource");
    let huge = vec![0; entitlement::MAX_ENTITLEMENT_BYTES + 1];
    assert_eq!(other(&good.type_url, REGISTERED, huge), "resource");
}

#[test]
fn times_out_of_bounds_are_refused() {
    let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    for wrong in [
        at(i64::MAX, 0),
        at(i64::MIN, 0),
        at(253_402_300_800, 0),
        at(-62_135_596_801, 0),
        at(0, -1),
        at(0, 1_000_000_000),
    ] {
        assert_eq!(
            read_timestamp("f", wrong).unwrap_err().field,
            "f",
            "{wrong:?}"
        );
    }
    assert_eq!(read_optional_timestamp("f", None), Ok(None));
    let half = Timestamp::new(-1, -500_000_000).unwrap();
    assert_eq!(
        timestamp(half),
        prost_types::Timestamp {
            seconds: -2,
            nanos: 500_000_000
        }
    );
}

#[test]
fn durations_are_positive_whole_seconds() {
    let length = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    assert_eq!(
        read_duration("f", length(20, 0)),
        Ok(Duration::from_secs(20))
    );
    for wrong in [
        None,
        length(0, 0),
        length(-1, 0),
        length(1, 1),
        length(i64::MAX, 0),
    ] {
        assert!(read_duration("f", wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(duration(Duration::MAX).seconds, 315_576_000_000);
}

#[test]
fn serials_are_sixteen_bytes() {
    let ours = Serial::new(0x01_0000, 1, [2; 8]).unwrap();
    assert_eq!(serial("serial", &serial_bytes(&ours)), Ok(ours));
    assert_eq!(serial("serial", &[1; 15]).unwrap_err().field, "serial");
}

proptest! {
    #[test]
    fn timestamps_survive_the_wire(seconds in -62_135_596_800i64..253_402_207_200, nanos in 0i32..1_000_000_000) {
        let at = Timestamp::new(seconds, nanos).unwrap();
        let written = timestamp(at);
        prop_assert!((0..1_000_000_000).contains(&written.nanos));
        prop_assert_eq!(read_timestamp("f", Some(written)), Ok(at));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = wire::DiscoveryRequest::decode(&*bytes).map(StateRequest::from);
        let _ = wire::DeltaDiscoveryRequest::decode(&*bytes).map(DeltaRequest::from);
        let _ = wire::DeltaDiscoveryResponse::decode(&*bytes).map(DeltaResponse::try_from);
        let _ = mesh::NodeMessage::decode(&*bytes);
        let _ = mesh::ControlMessage::decode(&*bytes);
        let _ = read_resource(&Resource::hashed(crate::ENTITLEMENT_TYPE, REGISTERED, bytes.into()));
    }

    #[test]
    fn damaged_messages_never_panic(at: prop::sample::Index, byte: u8) {
        let good = resource(&entitlement());
        let mut body = good.body.to_vec();
        *at.get_mut(&mut body) = byte;
        let _ = read_resource(&Resource::hashed(&good.type_url, &good.name, body.into()));
    }
}
