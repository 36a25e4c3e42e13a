//! Waivers: logged, bounded, and over with the rotation that they are for.

use countersign_fleet::gate::GateOpen;

use super::super::{Act, Reason};
use super::log::told;
use super::*;

const PROXY: &str = "spiffe://example.org/node/a proxy";
const HOUR: Duration = Duration::from_secs(3_600);

fn act() -> Act {
    Act {
        reason: Reason::new("host is dead").unwrap(),
        operator: "operator uid 0".to_owned(),
    }
}

async fn waive(
    plane: &Plane,
    consumers: &[&str],
    lasting: Duration,
) -> Result<super::super::Waiver, AuthorityError> {
    let consumers = consumers.iter().map(ToString::to_string).collect();
    plane
        .authority
        .waive(consumers, lasting, act(), start())
        .await
}

fn waived(plane: &Plane, now: Timestamp) -> Vec<String> {
    let waivers = plane.authority.waivers(now).into_iter();
    waivers.map(|(consumer, _)| consumer).collect()
}

#[tokio::test]
async fn waiver_needs_a_pending_root_and_a_bound() {
    let plane = Plane::new().await;
    assert_eq!(code(waive(&plane, &[PROXY], HOUR).await), "nothing_pending");
    plane.authority.prepare_root(start()).await.unwrap();
    let day = 24 * HOUR;
    for lasting in [Duration::ZERO, MINUTE / 2, 7 * day + MINUTE] {
        assert_eq!(
            code(waive(&plane, &[PROXY], lasting).await),
            "waiver_duration"
        );
    }
    for consumers in [&[][..], &[""], &[PROXY; 65]] {
        assert_eq!(
            code(waive(&plane, consumers, HOUR).await),
            "waiver_consumers"
        );
    }
    waive(&plane, &[PROXY], 7 * day).await.unwrap();
}

#[tokio::test]
async fn waiver_survives_a_restart_and_ends_by_itself() {
    let plane = Plane::new().await;
    plane.authority.prepare_root(start()).await.unwrap();
    let from = plane.authority.ledger.log().size();
    waive(&plane, &[PROXY, "b"], HOUR).await.unwrap();
    let entries = [PROXY, "b"].map(|it| format!("waived {it} host is dead"));
    assert_eq!(told(&plane, from), entries);
    let plane = plane.crash(after(1)).await;
    assert_eq!(waived(&plane, after(1)), ["b", PROXY]);
    let authority = &plane.authority;
    let operator = || "operator uid 0".to_owned();
    authority
        .unwaive("b".to_owned(), operator(), after(2))
        .await
        .unwrap();
    let twice = authority
        .unwaive("b".to_owned(), operator(), after(2))
        .await;
    assert_eq!(code(twice), "not_waived");
    assert_eq!(waived(&plane, after(3_599)), [PROXY]);
    assert_eq!(waived(&plane, after(3_600)), [""; 0], "its time is over");
    let plane = plane.crash(after(3_600)).await;
    plane.authority.tick(after(3_600)).await.unwrap();
    assert_eq!(waived(&plane, after(3)), [""; 0], "and it is forgotten");
}

#[tokio::test]
async fn waiver_opens_for_no_later_rotation() {
    let plane = Plane::new().await;
    plane.authority.prepare_root(start()).await.unwrap();
    waive(&plane, &[PROXY], 24 * HOUR).await.unwrap();
    let version = plane.authority.bundle().0.version().to_owned();
    let gate = GateOpen::for_test(&version);
    plane.authority.activate_root(gate, after(1)).await.unwrap();
    plane.authority.prepare_root(after(2)).await.unwrap();
    assert_eq!(waived(&plane, after(2)), [""; 0]);
}
