//! What a lineage costs in memory, part by part, and that issuing for the same ones costs no more.

use std::fmt::Debug;

use countersign_ca::authorities::Path;
use countersign_ca::sign::Signed;
use countersign_fleet::Fleet;
use countersign_footprint::{alone, kept_by};
use countersign_inventory::Inventory;
use countersign_issue::issuance::Issuance;
use countersign_issue::profile::Profile;
use countersign_model::Serial;
use countersign_registry::{Account, Defaults, Kept};

use super::*;
use crate::state::State;

const LINEAGES: usize = 10_000;
const ON_EACH_NODE: usize = 100;
/// A to-be-signed leaf and its signature, about as long as real ones.
const TBS_BYTES: usize = 420;
const SIGNATURE_BYTES: usize = 71;
/// What all parts may take of one lineage together.
const BYTES_OF_A_LINEAGE: usize = 2_200;
const LIFETIME: Duration = Duration::from_secs(600);
const LIFETIMES: i32 = 20;

fn registered(n: usize) -> Registration {
    let (node, workload) = (n / ON_EACH_NODE, n % ON_EACH_NODE);
    let workload = format!("/ns/shop/node/{node}/workload/{workload}");
    registration(&workload, &format!("/node/{node}"))
}

fn signed(n: usize) -> Signed {
    let registration = registered(n);
    let mut spki_sha256 = [0; 32];
    spki_sha256[..8].copy_from_slice(&n.to_be_bytes());
    let issuance = Issuance {
        serial: Serial::new(0x01_0000, n as u64, [7; 8]).unwrap(),
        profile: Profile::Svid,
        spiffe_id: registration.key.id.to_string(),
        node: registration.key.node().unwrap().to_string(),
        entitlement: registration.key.entitlement_id().to_string(),
        spki_sha256,
        issuer: "5e2f".repeat(10),
        issued_at: start(),
        not_after: after(600),
        tbs: vec![0; TBS_BYTES],
        account: Account::of(&registration),
        renews: None,
        key_epoch: None,
        attested: None,
        order: n as u64,
    };
    Signed::for_test(issuance, vec![0; SIGNATURE_BYTES])
}

/// Bytes of one lineage in a part of the control plane.
fn each(what: &str, bytes: usize) -> usize {
    let bytes = bytes / LINEAGES;
    eprintln!("{what}: {bytes} bytes a lineage");
    bytes
}

fn fill(mut state: State, what: impl Fn(&mut State, usize)) -> State {
    (0..LINEAGES).for_each(|n| what(&mut state, n));
    state
}

fn published(state: &mut State, n: usize, above: &Path) {
    let signed = signed(n);
    let key = registered(n).key;
    let holder = state.holder(key.node().unwrap(), &key.entitlement_id());
    let svid = PublishedSvid::of(&signed, above.clone(), holder.unwrap());
    state.published.offer(Arc::new(svid.unwrap()));
}

#[test]
fn lineage_costs_little_in_all_parts_together() {
    alone(
        "tests::memory::lineage_costs_little_in_all_parts_together",
        || {
            let defaults = Defaults {
                ttl: LIFETIME,
                renew: RenewalWindow::default(),
                backdate: Duration::from_secs(60),
            };
            let above: Path = Arc::from([vec![0; 480].into()]);
            let state = State::new(defaults, Policy::default());
            let (state, registry) = kept_by(|| {
                fill(state, |state, n| {
                    let registration = registered(n);
                    let key_epoch = 0;
                    state.registry.insert(Kept {
                        registration,
                        key_epoch,
                        raised_at: None,
                        began: None,
                    });
                })
            });
            let (state, svids) = kept_by(|| fill(state, |state, n| published(state, n, &above)));
            let (state, keys) = kept_by(|| {
                fill(state, |state, n| {
                    state.keys.issued(signed(n).issuance());
                })
            });
            let (inventory, listed) = kept_by(|| {
                let mut inventory = Inventory::default();
                (0..LINEAGES).for_each(|n| inventory.issued(&signed(n)));
                inventory
            });
            let (fleet, told) = kept_by(|| {
                let fleet = Fleet::default();
                for n in 0..LINEAGES {
                    let (key, serial) = (registered(n).key, signed(n).issuance().serial);
                    let node = key.node().unwrap();
                    fleet.svid_acknowledged(node, key.entitlement_id(), serial);
                }
                fleet
            });
            let parts = [
                each("registry", registry),
                each("published", svids),
                each("keys", keys),
                each("inventory", listed),
                each("fleet", told),
            ];
            drop((state, inventory, fleet));
            let all: usize = parts.iter().sum();
            eprintln!("together: {all} bytes a lineage");
            assert!(all <= BYTES_OF_A_LINEAGE, "{all} bytes a lineage");
        },
    );
}

/// How much is in every table that an issuance adds to, and in those that rotations add to.
fn tables(plane: &Plane) -> Vec<(&'static str, usize)> {
    let log = plane.authority.ledger.log();
    let tiers = plane.authority.tiers();
    let ca_keys = plane.authority.hierarchy.read().keys.len();
    let state = plane.authority.state.read();
    let (keys, room) = state.keys.size();
    vec![
        ("keys", keys),
        ("room for keys", room),
        ("published", state.published.len()),
        ("nodes", state.nodes.iter().count()),
        ("tokens", state.tokens.count()),
        (
            "lineages",
            plane.authority.ledger.with_inventory(Inventory::count),
        ),
        ("issuing CAs", tiers.issuing.len()),
        ("CA keys", ca_keys),
        ("unvoided", plane.authority.ledger.unvoided().len()),
        (
            "entries in the journal alone",
            usize::try_from(log.size() - log.bytes().published()).unwrap(),
        ),
    ]
}

fn largest<T: Ord + Copy + Debug>(seen: &[Vec<(&'static str, T)>]) -> Vec<(&'static str, T)> {
    let mut largest = seen[0].clone();
    for (max, (_, value)) in seen.iter().flat_map(|it| (0..).zip(it)) {
        largest[max].1 = largest[max].1.max(*value);
    }
    largest
}

#[tokio::test]
async fn issuing_keeps_its_tables_flat() {
    let plane = Plane::with(|settings| {
        settings.x509_ttl = LIFETIME;
        settings.issuing_ttl = 6 * LIFETIME;
    })
    .await;
    let node = plane.attest("/node/a").await;
    let mut entitlements = vec![EntitlementId::node()];
    for workload in ["/web", "/pay"] {
        entitlements.push(plane.register(registration(workload, "/node/a")).await);
    }
    let mut seen = Vec::new();
    for renewal in 1..=2 * LIFETIMES {
        let now = start() + renewal * SignedDuration::try_from(LIFETIME / 2).unwrap();
        for entitlement in &entitlements {
            let key = proven(&fresh_key(), entitlement);
            let enrolled = plane.authority.enrol(&node, entitlement, &key, now).await;
            enrolled.unwrap();
        }
        plane.authority.tick(now).await.unwrap();
        plane.authority.publish_log(now).await.unwrap();
        seen.push(tables(&plane));
    }
    // Until an issuing CA was succeeded and dropped, everything that comes has come.
    let (first, later) = seen.split_at(seen.len() / 2);
    assert_eq!(largest(later), largest(first));
    let over = start() + 2 * LIFETIMES * SignedDuration::try_from(LIFETIME).unwrap();
    plane.authority.tick(over).await.unwrap();
    let state = plane.authority.state.read();
    assert_eq!((state.keys.size().0, state.published.len()), (0, 0));
    let issued = plane.authority.issued_total();
    assert!(
        issued > 3 * 2 * u64::try_from(LIFETIMES).unwrap(),
        "{issued}"
    );
}

#[tokio::test]
async fn published_svids_share_what_is_the_same() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let pay = plane.register(registration("/pay", "/node/a")).await;
    plane.enrol(&node, &web).await;
    plane.authority.prepare_root(after(1)).await.unwrap();
    plane.enrol(&node, &pay).await;
    share_all(&plane, [&web, &pay]);
    share_all(&plane.restart(after(1)).await, [&web, &pay]);
}

fn share_all(plane: &Plane, [web, pay]: [&EntitlementId; 2]) {
    let state = plane.authority.state.read();
    let [web_svid, pay_svid] =
        [web, pay].map(|it| state.published.newest(&id("/node/a"), it).unwrap());
    assert!(Arc::ptr_eq(web_svid.above(), pay_svid.above()));
    let at = |text: &str| text.as_ptr();
    assert_eq!(at(web_svid.node.as_str()), at(pay_svid.node.as_str()));
    let (web, kept) = state.registry.held(&id("/node/a"), web).unwrap();
    assert_eq!(
        at(web_svid.id.as_str()),
        at(kept.registration.key.id.as_str())
    );
    assert_eq!(at(web_svid.entitlement.as_str()), at(web.as_str()));
}
