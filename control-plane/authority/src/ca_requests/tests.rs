use countersign_ca::key::KeyStore;
use countersign_keys::DiskKeys;
use countersign_store::Kind;

use super::*;

const PARENT: &str = "aa";

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

fn domain() -> TrustDomain {
    TrustDomain::new("example.org").unwrap()
}

/// A request of a replica, with a key of its own.
fn request(replica: &str, secs: i64) -> CaRequested {
    let dir = tempfile::tempdir().unwrap();
    let key = DiskKeys::new(dir.path()).create().unwrap();
    let who = (&domain(), replica);
    CaRequested::new(key.as_ref(), StoreKind::Disk, who, PARENT, at(secs)).unwrap()
}

/// Who can sign with the key of a parent, and knows all but strangers.
struct Signs(TrustDomain, &'static str);

impl Rules for Signs {
    fn trust_domain(&self) -> &TrustDomain {
        &self.0
    }

    fn parent(&self) -> &str {
        self.1
    }

    fn may_join(&self, replica: &str) -> bool {
        replica != "stranger"
    }

    fn is_ca(&self, _: &str) -> bool {
        false
    }
}

fn due(requests: &CaRequests, secs: i64) -> Vec<Judged> {
    requests.due(&Signs(domain(), PARENT), at(secs))
}

fn is_answer(judged: &[Judged], replica: &str) -> bool {
    matches!(judged, [Judged::Answer(asker)] if asker.replica == replica)
}

#[test]
fn proven_request_is_answered_once_a_minute() {
    let mut requests = CaRequests::default();
    let asked = request("b", 0);
    requests.note("b", asked.clone(), Seq(7));
    let judged = due(&requests, 1);
    let [Judged::Answer(asker)] = &judged[..] else {
        panic!("{judged:?}");
    };
    let spki = asked.key().unwrap().0;
    assert_eq!((&asker.spki, asker.asked), (&spki, Seq(7)));
    assert_eq!(asker.key_id, key_id(&spki));

    requests.answers("b", at(1));
    requests.forget("b");
    requests.note("b", request("b", 2), Seq(8));
    requests.note("c", request("c", 2), Seq(9));
    assert!(is_answer(&due(&requests, 2), "c"), "another has its own");
    requests.answers("c", at(2));
    assert!(due(&requests, 60).is_empty());
    assert!(is_answer(&due(&requests, 61), "b"));
    // A clock that was set back makes nobody wait for long.
    assert_eq!(due(&requests, -100).len(), 2);
}

#[test]
fn strange_requests_are_left_alone() {
    let mut requests = CaRequests::default();
    requests.note("stranger", request("stranger", 0), Seq(2));
    assert!(due(&requests, 1).is_empty());
    requests.note("b", request("b", 0), Seq(3));
    let other = requests.due(&Signs(domain(), "other parent"), at(1));
    assert!(other.is_empty(), "its key is elsewhere");
}

#[test]
fn unproven_request_is_refused() {
    let good = request("b", 0);
    let hexadecimal = |text: &str| CaRequested {
        proof: text.to_owned(),
        ..good.clone()
    };
    let taken_over = request("c", 0);
    let bad = [
        hexadecimal(""),
        hexadecimal("xyz"),
        hexadecimal(&request("b", 0).proof),
        CaRequested {
            spki: String::new(),
            ..good.clone()
        },
        CaRequested {
            at: at(1),
            ..good.clone()
        },
        taken_over,
    ];
    for bad in bad {
        let mut requests = CaRequests::default();
        requests.note("b", bad.clone(), Seq(1));
        let judged = due(&requests, 1);
        assert!(
            matches!(&judged[..], [Judged::Refuse(replica, Seq(1), _)] if replica == "b"),
            "{bad:?}: {judged:?}"
        );
    }
}

#[test]
fn request_that_is_not_made_anew_is_forgotten() {
    let mut requests = CaRequests::default();
    requests.note("b", request("b", 0), Seq(4));
    let day = 24 * 3_600;
    assert!(is_answer(&due(&requests, day), "b"));
    let judged = due(&requests, day + 1);
    assert!(matches!(&judged[..], [Judged::Forget(replica, Seq(4))] if replica == "b"));
}

#[test]
fn request_stands_for_half_of_its_time() {
    let asked = request("b", 0);
    let half = 12 * 3_600;
    assert!(asked.stands(PARENT, at(half - 1)));
    assert!(!asked.stands(PARENT, at(half)));
    assert!(!asked.stands("other parent", at(1)));
}

#[test]
fn remembered_requests_are_bounded() {
    let mut requests = CaRequests::default();
    let asked = request("b", 0);
    for n in 0..MAX_REQUESTS + 10 {
        requests.note(&n.to_string(), asked.clone(), Seq(1));
        requests.answers(&n.to_string(), at(i64::try_from(n).unwrap()));
    }
    assert_eq!(requests.waiting.len(), MAX_REQUESTS);
    assert_eq!(requests.answered.len(), 60, "those of the last minute");
    let newer = request("b", 1);
    requests.note("1", newer.clone(), Seq(2));
    assert_eq!(
        requests.waiting["1"],
        (newer, Seq(2)),
        "one that is known is replaced"
    );
}

#[test]
fn stored_request_is_read_again() {
    let asked = request("b", 0);
    let write = Write::put(Kind::CaRequest, "b", &asked);
    let mut requests = CaRequests::default();
    requests.take(&write, Seq(3));
    assert_eq!(requests.waiting["b"], (asked, Seq(3)));
    requests.take(&Write::remove(Kind::CaRequest, "b"), Seq(4));
    assert_eq!(requests.waiting.len(), 0);
    let damaged = Write::put(Kind::CaRequest, "b", &"none");
    requests.note("b", request("b", 0), Seq(5));
    requests.take(&damaged, Seq(6));
    assert_eq!(requests.waiting.len(), 0);
}
