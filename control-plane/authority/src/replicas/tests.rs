use tokio::time::Instant;

use super::joining::{Entrance, Found, entrance};
use super::*;
use crate::state::{Heartbeat, Replicas};
use crate::tests::{after, start};
use countersign_model::entropy::{Entropy, NoEntropy};
use countersign_model::{Seq, TrustDomain};

#[derive(Debug)]
struct Fixed(u8);

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        bytes.fill(self.0);
        Ok(())
    }
}

const DOMAIN: &str = "example.org";

fn invitation(replica: &str, secret: u8) -> Invitation {
    Invitation::new(&TrustDomain::new(DOMAIN).unwrap(), replica, &Fixed(secret)).unwrap()
}

fn invited(by: &Invitation) -> Replica {
    Replica::Invited {
        secret_sha256: by.secret_sha256(),
        until: after(600),
    }
}

fn joined() -> Replica {
    Replica::Joined {
        log_id: 0x01_0000,
        since: start(),
    }
}

fn sealed() -> Replica {
    Replica::Sealed {
        log_id: 0x01_0000,
        since: start(),
        size: 1,
        root_hash: String::new(),
    }
}

/// What becomes of `b` that opens a database whose first control plane is `first`.
fn opens(
    first: Option<&str>,
    own: Option<&Replica>,
    invitation: Option<&Invitation>,
    at: i64,
) -> Result<Entrance, &'static str> {
    let found = Found {
        trust_domain: first.map(|_| DOMAIN),
        first,
        own,
    };
    entrance((DOMAIN, "b"), invitation, &found, after(at)).map_err(|denied| denied.code)
}

#[test]
fn stranger_opens_no_database_of_others() {
    let good = invitation("b", 1);
    let row = invited(&good);
    assert_eq!(opens(None, None, None, 0), Ok(Entrance::First));
    assert_eq!(opens(Some("b"), None, None, 0), Ok(Entrance::First));
    assert_eq!(opens(Some("a"), None, None, 0), Err("database_taken"));
    assert_eq!(opens(Some("a"), Some(&row), None, 0), Err("database_taken"));
    assert_eq!(
        opens(Some("a"), None, Some(&good), 0),
        Err("invitation_unknown")
    );
    assert_eq!(opens(None, None, Some(&good), 0), Err("nothing_to_join"));
}

#[test]
fn invitation_lets_its_replica_in_once_and_in_time() {
    let good = invitation("b", 1);
    let row = invited(&good);
    let of = |row: &Replica, by: &Invitation, at| opens(Some("a"), Some(row), Some(by), at);
    assert_eq!(of(&row, &good, 600), Ok(Entrance::Joins));
    assert_eq!(of(&row, &good, 601), Err("invitation_over"));
    assert_eq!(of(&row, &invitation("b", 2), 0), Err("invitation_unknown"));
    assert_eq!(
        of(&row, &invitation("c", 1), 0),
        Err("invitation_of_another")
    );
    assert_eq!(of(&joined(), &invitation("b", 2), 0), Ok(Entrance::Known));
    // Whoever forgot to set its name is told so, and not that the name is another's.
    assert_eq!(
        of(&joined(), &invitation("c", 1), 0),
        Err("invitation_of_another")
    );
    assert_eq!(of(&sealed(), &good, 0), Err("replica_sealed"));
}

#[test]
fn invitation_is_read_as_it_was_written_and_hides_its_secret() {
    let good = invitation("b", 1);
    assert_eq!(Invitation::parse(&good.to_text()), Ok(good.clone()));
    assert!(!format!("{good:?}").contains("0101"));
    let with = |from: &str, to: &str| good.to_text().replace(from, to);
    let no_name = with("\"b\"", "\"b\\u001b[2J\"");
    let no_domain = with(DOMAIN, "Example.org");
    for text in ["", "{}", &with("0101", "01"), &no_name, &no_domain] {
        assert_eq!(Invitation::parse(text), Err(InvitationError), "{text}");
    }
}

#[test]
fn replicas_are_bounded_and_names_used_once() {
    let mut replicas = Replicas::default();
    replicas.written("gone".to_owned(), Some(sealed()), Seq(1));
    for n in 0..MAX_REPLICAS {
        assert_eq!(replicas.check_room("another"), Ok(()), "{n}");
        replicas.written(format!("b{n}"), Some(joined()), Seq(1));
    }
    let code = |name: &str| replicas.check_room(name).unwrap_err().code;
    assert_eq!(code("another"), "too_many_replicas");
    assert_eq!(
        (code("b0"), code("gone")),
        ("replica_known", "replica_known")
    );
    replicas.written("b0".to_owned(), Some(invited(&invitation("b0", 1))), Seq(1));
    assert_eq!(
        replicas.check_room("b0"),
        Ok(()),
        "an invitation is replaced"
    );
}

#[test]
fn heartbeats_are_bounded() {
    let mut replicas = Replicas::default();
    let said = |sequence| {
        Some(Heartbeat {
            sequence,
            ..Heartbeat::unheard(start())
        })
    };
    (0..100).for_each(|n| replicas.said(format!("b{n}"), said(n), Seq(1)));
    assert!(replicas.heartbeat("b63").is_some() && replicas.heartbeat("b64").is_none());
    replicas.said("b63".to_owned(), said(700), Seq(701));
    assert_eq!(replicas.heartbeat("b63").unwrap().sequence, 700);
    replicas.said("b63".to_owned(), None, Seq(702));
    assert!(replicas.heartbeat("b63").is_none());
}

#[test]
fn clock_of_another_is_compared_while_it_is_heard_of() {
    let mut replicas = Replicas::default();
    let said = |at| Some(Heartbeat::unheard(at));
    let begun = Instant::now();
    let later = |seconds| begun + Duration::from_secs(seconds);
    replicas.said("b".to_owned(), said(after(7_200)), Seq(1));
    assert_eq!(
        replicas.other_clock(start(), begun),
        None,
        "found at a start"
    );
    replicas.heard_heartbeat("b", begun);
    for (seconds, now) in [(0, start()), (30, after(30))] {
        let (name, ahead) = replicas.other_clock(now, later(seconds)).unwrap();
        assert_eq!((name, ahead.as_secs()), ("b", 7_200));
    }
    assert_eq!(
        replicas.other_clock(after(31), later(31)),
        None,
        "it may be gone"
    );
    replicas.said("b".to_owned(), said(after(40)), Seq(2));
    replicas.heard_heartbeat("b", later(41));
    assert_eq!(
        replicas.other_clock(after(50), later(50)),
        None,
        "they agree"
    );
    // The own clock is set.
    let (_, ahead) = replicas.other_clock(after(7_250), later(51)).unwrap();
    assert_eq!(ahead.as_secs(), -7_200);
    replicas.heard_heartbeat("c", later(52));
    replicas.said("b".to_owned(), None, Seq(3));
    assert_eq!(replicas.other_clock(after(7_250), later(52)), None);
}
