//! What the rows say: pure functions of what is so and of `now`.

use jiff::Timestamp;

use super::shape::{Endpoint, Node};
use crate::distance::{between, relative};
use crate::table::Tone;

/// How an identity on a node stands, in words.
pub(crate) fn endpoint(it: &Endpoint, now: Timestamp) -> String {
    let since = |what: &str| match it.since {
        Some(since) => format!("{what} for {}", between(since, now)),
        None => what.to_owned(),
    };
    match it.state.as_str() {
        "held" => match it.renewal_due {
            Some(due) => format!("held, renewal {}", relative(due, now)),
            None => "held".to_owned(),
        },
        "overdue" => {
            let late = it.since.map_or_else(String::new, |due| between(due, now));
            format!("renewal {late} overdue, {}", rest(it, now))
        }
        "changed" => {
            let since = it.since.map(|since| format!(" {}", relative(since, now)));
            let since = since.unwrap_or_default();
            format!("held, to be replaced: its registration changed{since}")
        }
        "unacknowledged" => since("sent, not acknowledged"),
        "expired" => {
            let end = it.not_after.map(|end| relative(end, now));
            format!("expired {}", end.unwrap_or_default())
        }
        "awaited" => since("no certificate yet: awaited"),
        "not_asked_for" => "not held: beyond enrol_ahead, nobody asked yet".to_owned(),
        "never_attested" => "not held: the node never attested".to_owned(),
        "away" => format!("{}, {}", since("node not connected"), rest(it, now)),
        "evicted" => format!("{}, {}", since("node evicted"), given(it, now)),
        "banned" => format!("{}, {}", since("node banned"), given(it, now)),
        "refused" => refused(it, now),
        // Of a newer control plane.
        other => since(&other.replace('_', " ")),
    }
}

fn refused(it: &Endpoint, now: Timestamp) -> String {
    let code = it.refused.as_ref().map_or("refused", |it| it.code.as_str());
    let since = it.since.map(|since| format!(" {}", relative(since, now)));
    format!(
        "refused{}: {code}, {}",
        since.unwrap_or_default(),
        rest(it, now)
    )
}

/// What is left of what a node has that was put out: its certificates are not kept track of any more.
fn given(it: &Endpoint, now: Timestamp) -> String {
    match it.not_after {
        Some(_) => rest(it, now),
        None => "what it was given is valid until it ends".to_owned(),
    }
}

/// What is left of the newest certificate.
fn rest(it: &Endpoint, now: Timestamp) -> String {
    match it.not_after {
        Some(end) if now <= end => format!("valid {} more", between(now, end)),
        Some(end) => format!("expired {}", relative(end, now)),
        None => "nothing held".to_owned(),
    }
}

/// How a node stands, in words.
pub(crate) fn node(it: &Node, now: Timestamp) -> String {
    let word = match it.state.as_str() {
        "never_attested" => "never attested",
        "away" => "not connected",
        other => other,
    };
    let at = it.replica.as_ref().map(|replica| format!(" at {replica}"));
    let at = at.unwrap_or_default();
    match it.since {
        Some(since) => format!("{word}{at} for {}", between(since, now)),
        None if it.state == "away" => format!("{word} since the control plane started"),
        None => word.to_owned(),
    }
}

/// The colour of a state: it repeats the words.
pub(super) fn tone(state: &str, needs_attention: bool) -> Tone {
    match state {
        _ if needs_attention => Tone::Bad,
        "held" | "connected" => Tone::Good,
        "not_asked_for" => Tone::Plain,
        _ => Tone::Warn,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::status::shape::Refused;

    const STATES: [&str; 13] = [
        "held",
        "overdue",
        "changed",
        "unacknowledged",
        "expired",
        "awaited",
        "not_asked_for",
        "never_attested",
        "away",
        "evicted",
        "banned",
        "refused",
        "of_a_newer_version",
    ];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn said(state: &str, since: i64) -> String {
        let it = Endpoint {
            state: state.to_owned(),
            since: Some(at(since)),
            not_after: Some(at(5_000)),
            renewal_due: Some(at(3_000)),
            refused: (state == "refused").then(|| Refused {
                code: "policy_ttl".to_owned(),
                message: String::new(),
            }),
            ..Endpoint::default()
        };
        endpoint(&it, at(2_000))
    }

    #[test]
    fn rows_say_since_when_and_how_long() {
        for (state, since, expected) in [
            ("held", 1_000, "held, renewal in 16 min"),
            ("overdue", 1_980, "renewal 20 s overdue, valid 50 min more"),
            (
                "changed",
                1_985,
                "held, to be replaced: its registration changed 15 s ago",
            ),
            ("unacknowledged", 1_990, "sent, not acknowledged for 10 s"),
            (
                "away",
                1_880,
                "node not connected for 2 min, valid 50 min more",
            ),
            (
                "refused",
                1_000,
                "refused 16 min ago: policy_ttl, valid 50 min more",
            ),
            ("of_a_newer_version", 1_000, "of a newer version for 16 min"),
        ] {
            assert_eq!(said(state, since), expected);
        }
    }

    /// Its certificates are not kept track of, and a thief may hold them still.
    #[test]
    fn a_node_that_was_put_out_is_not_said_to_hold_nothing() {
        for state in ["evicted", "banned"] {
            let it = Endpoint {
                state: state.to_owned(),
                ..Endpoint::default()
            };
            let said = endpoint(&it, at(0));
            assert!(
                said.ends_with("what it was given is valid until it ends"),
                "{said}"
            );
        }
    }

    proptest! {
        /// Only what is held says so alone, and what is overdue reads as overdue, whatever the clocks say.
        #[test]
        fn no_other_state_reads_as_held(
            state in 0usize..STATES.len(),
            times in proptest::array::uniform4(proptest::option::of(0i64..10_000)),
        ) {
            let [since, not_after, renewal_due, now] = times.map(|it| it.map(at));
            let it = Endpoint {
                state: STATES[state].to_owned(),
                since,
                not_after,
                renewal_due,
                ..Endpoint::default()
            };
            let said = endpoint(&it, now.unwrap_or(at(0)));
            prop_assert_eq!(said.starts_with("held"), ["held", "changed"].contains(&STATES[state]));
            prop_assert_eq!(said.contains("overdue"), STATES[state] == "overdue");
            prop_assert!(!said.is_empty() && !said.contains('_') || said.contains("enrol_ahead"));
        }
    }
}
