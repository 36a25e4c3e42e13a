use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// When each admitted line was written, of lines that come after such pauses (µs).
fn written(limit: &mut LineLimit, lines: &[(u64, u64)]) -> Vec<(u64, Instant)> {
    let mut now = Instant::now();
    let mut written = Vec::new();
    for (pause, principal) in lines {
        now += Duration::from_micros(*pause);
        if limit.admit(*principal, now).is_some() {
            written.push((*principal, now));
        }
    }
    written
}

/// Most of these moments that fall into one second.
fn most_in_a_second(moments: &[Instant]) -> u32 {
    let within = |begin: &Instant| {
        let window = moments.iter();
        let window = window.filter(|at| *at >= begin && at.duration_since(*begin) < SECOND);
        u32::try_from(window.count()).unwrap()
    };
    moments.iter().map(within).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn no_second_has_more_lines_than_allowed(lines in vec((0_u64..30_000, 0_u64..12), 0..600)) {
        let mut limit = LineLimit::default();
        let written = written(&mut limit, &lines);
        let moments: Vec<_> = written.iter().map(|(_, at)| *at).collect();
        prop_assert!(most_in_a_second(&moments) <= KIND.most_in_a_second());
        for principal in 0..12 {
            let own = written.iter().filter(|(who, _)| *who == principal);
            let own: Vec<_> = own.map(|(_, at)| *at).collect();
            prop_assert!(most_in_a_second(&own) <= PRINCIPAL.most_in_a_second());
        }
    }

    #[test]
    fn every_line_left_out_is_told_once(lines in vec((0_u64..3_000, 0_u64..12), 0..600)) {
        let mut limit = LineLimit::default();
        let (mut now, mut told, mut written) = (Instant::now(), 0, 0);
        for (pause, principal) in &lines {
            now += Duration::from_micros(*pause);
            if let Some(left_out) = limit.admit(*principal, now) {
                told += left_out;
                written += 1;
            }
        }
        prop_assert_eq!(written + told + limit.take_left_out(), lines.len() as u64);
        prop_assert_eq!(limit.take_left_out(), 0);
    }

    #[test]
    fn remembered_principals_are_bounded(pauses in vec(0_u64..300_000, 0..600)) {
        let mut limit = LineLimit::default();
        let lines: Vec<_> = pauses.into_iter().zip(0..).collect();
        let admitted = written(&mut limit, &lines).len();
        prop_assert!(limit.principals.len() <= MAX_PRINCIPALS);
        prop_assert!(limit.principals.capacity() <= 4 * MAX_PRINCIPALS);
        // As few as are remembered, none was sent away for want of a place.
        let mut all = None;
        let mut now = Instant::now();
        let expected = lines.iter().filter(|(pause, _)| {
            now += Duration::from_micros(*pause);
            let next = KIND.after_one_more(all, now);
            all = next.or(all);
            next.is_some()
        });
        prop_assert_eq!(admitted, expected.count());
    }
}

#[test]
fn a_quiet_principal_is_heard_beside_a_loud_one() {
    let mut limit = LineLimit::default();
    let now = Instant::now();
    let loud = (0..10_000)
        .filter(|_| limit.admit(1, now).is_some())
        .count();
    assert_eq!(loud, 10);
    assert_eq!(limit.admit(2, now), Some(9_990));
    assert_eq!(limit.admit(1, now), None);
    assert_eq!(limit.admit(1, now + PRINCIPAL.interval), Some(1));
}

#[test]
fn four_kinds_write_under_two_hundred_lines() {
    assert!(4 * KIND.most_in_a_second() < 200);
}
