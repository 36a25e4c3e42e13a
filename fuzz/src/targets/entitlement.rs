//! Entitlements as a sidecar reads them.

use std::time::Duration;

use bytes::Bytes;
use countersign_discovery::Resource;
use countersign_model::{
    Entitlement, EntitlementId, EntitlementKind, RenewalWindow, Selector, SelectorSet, SpiffeId,
};
use countersign_proto::ENTITLEMENT_TYPE;
use countersign_proto::convert::entitlement::{MAX_ENTITLEMENT_BYTES, read_resource, resource};

use super::material::now;

const NAMES: [&str; 2] = ["node", "reg-00112233445566778899aabbccddeeff"];

/// Under either name: what is taken reads the same from what it is written as.
pub fn run(data: &[u8]) -> bool {
    let taken = NAMES.map(|name| {
        let body = Bytes::copy_from_slice(data);
        let Ok(read) = read_resource(&Resource::hashed(ENTITLEMENT_TYPE, name, body)) else {
            return false;
        };
        assert!(data.len() <= MAX_ENTITLEMENT_BYTES);
        assert_eq!(read_resource(&resource(&read)), Ok(read));
        true
    });
    assert!(
        taken != [true, true],
        "a node's own has no selectors, any other has"
    );
    taken.contains(&true)
}

/// A node's own and a workload's.
pub fn seeds() -> Vec<Vec<u8>> {
    let selectors = [
        Selector::UnixUid(1_000),
        Selector::UnixPath("/bin/web".to_owned()),
    ];
    let selectors = SelectorSet::new(selectors).expect("two are a set");
    let kinds = [EntitlementKind::Node, EntitlementKind::Workload(selectors)];
    let entitlements = NAMES
        .into_iter()
        .zip(kinds)
        .map(|(name, kind)| Entitlement {
            id: EntitlementId::parse(name).expect("a name of ours"),
            spiffe_id: SpiffeId::new("spiffe://example.org/web").expect("an ID of ours"),
            kind,
            lifetime: Duration::from_secs(3_600),
            renew: RenewalWindow::default(),
            min_key_epoch: 7,
            hint: None,
            is_default: true,
            created_at: now(),
            created_seq: 9,
            backdate: Duration::from_secs(60),
        });
    entitlements
        .map(|entitlement| resource(&entitlement).body.to_vec())
        .collect()
}
