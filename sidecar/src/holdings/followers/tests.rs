use futures_util::FutureExt as _;

use super::*;
use crate::holdings::Held;
use crate::pki::right;

fn entitle(holdings: &Holdings, digit: char, path: &str) -> EntitlementId {
    let entitlement = Arc::new(right(digit, path, 1));
    let id = entitlement.id.clone();
    let held = Held {
        entitlement,
        svid: None,
        problem: None,
    };
    holdings.publish(|snapshot| {
        Arc::make_mut(&mut snapshot.entries).insert(held.entitlement.id.clone(), held);
    });
    id
}

fn name(path: &str) -> Interest {
    Interest::Only(Followed {
        names: [format!("spiffe://example.org{path}").into()].into(),
        ..Followed::default()
    })
}

fn follower(holdings: &Arc<Holdings>, interest: Interest) -> Follower {
    let follower = holdings.follow();
    follower.follow(interest, holdings.load().generation);
    follower
}

fn is_due(follower: &Follower) -> bool {
    let is_woken = follower.due().now_or_never().is_some();
    assert_eq!(follower.take_due(), is_woken);
    is_woken
}

#[test]
fn only_followers_of_what_changed_are_woken() {
    let holdings = Holdings::new();
    let web = entitle(&holdings, '1', "/web");
    let own = follower(&holdings, name("/web"));
    let other = follower(&holdings, name("/db"));
    let all = holdings.follow();
    let of_web = Followed {
        entitlements: [web].into(),
        ..Followed::default()
    };
    let by_id = follower(&holdings, Interest::Only(of_web));
    let rights = Followed {
        rights: true,
        ..Followed::default()
    };
    let rights = follower(&holdings, Interest::Only(rights));
    let bundle = Followed {
        bundle: true,
        ..Followed::default()
    };
    let bundle = follower(&holdings, Interest::Only(bundle));
    holdings.publish(|snapshot| {
        Arc::make_mut(&mut snapshot.entries).clear();
    });
    let each = [&own, &other, &all, &by_id, &rights, &bundle];
    assert_eq!(each.map(is_due), [true, false, true, true, true, false]);
    assert_eq!(holdings.woken(), 4);
    assert!(!each.into_iter().any(is_due), "said once");
}

#[test]
fn nothing_that_was_published_meanwhile_is_missed() {
    let holdings = Holdings::new();
    let follower = holdings.follow();
    let seen = holdings.load().generation;
    assert!(!is_due(&follower));
    entitle(&holdings, '1', "/web");
    assert!(follower.take_due());
    follower.follow(name("/db"), seen);
    assert!(is_due(&follower), "of another generation than was seen");
    follower.follow(name("/db"), holdings.load().generation);
    assert!(!is_due(&follower));
}

#[test]
fn first_answer_of_the_control_plane_wakes_everybody() {
    let holdings = Holdings::new();
    let bundle = crate::pki::Authority::new("root").bundle();
    holdings.publish(|snapshot| snapshot.bundle = Some(bundle));
    let follower = follower(&holdings, name("/web"));
    holdings.publish(|snapshot| snapshot.stamp.get_or_insert_default().sequence += 1);
    assert!(is_due(&follower));
    holdings.publish(|snapshot| snapshot.stamp.get_or_insert_default().sequence += 1);
    assert!(!is_due(&follower));
}

#[test]
fn who_leaves_is_forgotten() {
    let holdings = Holdings::new();
    let followers: Vec<_> = (0..3).map(|_| holdings.follow()).collect();
    assert_eq!(holdings.followers.lock().followers.len(), 3);
    drop(followers);
    assert!(holdings.followers.lock().followers.is_empty());
}
