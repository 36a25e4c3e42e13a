//! Several attempts for one result, the best first: the next one begins after a head start, or as
//! soon as one failed (the idea of RFC 8305). What works is not kept waiting by what is silent:
//! where as many are under way as may be, the one that began first gives its place to the next.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

/// Attempts under way at once.
pub(super) const MAX_UNDER_WAY: usize = 4;

/// How a race ended.
#[derive(Debug)]
pub(super) struct Race<L, T, E> {
    /// The first result, and whose; none where every attempt failed.
    pub(super) won: Option<(L, T)>,
    /// What failed before, in that order.
    pub(super) failed: Vec<(L, E)>,
    /// What had begun before and had not ended.
    pub(super) overtaken: Vec<L>,
}

/// Runs the attempts until one succeeds or all failed. What is still under way then is dropped.
pub(super) async fn race<L, T, E, F>(
    head_start: Duration,
    attempts: impl IntoIterator<Item = (L, F)>,
) -> Race<L, T, E>
where
    L: Clone + PartialEq,
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = attempts.into_iter().peekable();
    let mut under_way = FuturesUnordered::new();
    let mut places: VecDeque<(L, AbortHandle)> = VecDeque::new();
    let mut race = Race {
        won: None,
        failed: Vec::new(),
        overtaken: Vec::new(),
    };
    loop {
        if let Some((label, attempt)) = waiting.next() {
            if places.len() == MAX_UNDER_WAY
                && let Some((_, longest)) = places.pop_front()
            {
                longest.abort();
            }
            let (attempt, handle) = abortable(attempt);
            places.push_back((label.clone(), handle));
            race.overtaken.push(label.clone());
            under_way.push(async move { (label, attempt.await) });
        }
        loop {
            tokio::select! {
                ended = under_way.next() => {
                    let Some((label, result)) = ended else {
                        return race;
                    };
                    // One that gave its place stays overtaken.
                    let Ok(result) = result else { continue };
                    places.retain(|(other, _)| *other != label);
                    race.overtaken.retain(|other| *other != label);
                    match result {
                        Ok(won) => {
                            race.won = Some((label, won));
                            return race;
                        }
                        Err(error) => race.failed.push((label, error)),
                    }
                }
                () = sleep(head_start), if waiting.peek().is_some() => {}
            }
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::time::{Instant, timeout};

    use super::*;

    const BOUND: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(3_600);

    /// How one attempt ends: well, badly, after its follower has begun, or never.
    #[derive(Clone, Copy)]
    enum End {
        Well,
        Badly,
        Late,
        Never,
    }

    async fn attempt(end: End) -> Result<(), ()> {
        match end {
            End::Well => Ok(()),
            End::Badly => Err(()),
            End::Late => {
                sleep(SHORT * 10).await;
                Err(())
            }
            End::Never => pending().await,
        }
    }

    async fn run(head_start: Duration, ends: &[End]) -> Race<usize, (), ()> {
        let attempts = ends.iter().map(|end| attempt(*end)).enumerate();
        let ended = timeout(BOUND, race(head_start, attempts)).await;
        ended.expect("within the bound")
    }

    #[tokio::test]
    async fn silence_delays_by_one_head_start() {
        let began = Instant::now();
        let race = run(SHORT, &[End::Never, End::Well]).await;
        assert_eq!((race.won, race.overtaken), (Some((1, ())), vec![0]));
        assert!(began.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn failure_begins_the_next_at_once() {
        let race = run(LONG, &[End::Badly, End::Badly, End::Well]).await;
        assert_eq!(race.won, Some((2, ())));
        assert_eq!(race.failed, [(0, ()), (1, ())]);
    }

    #[tokio::test]
    async fn first_keeps_its_head_start() {
        let began = Cell::new(0);
        let attempts = (0..3).map(|n| {
            let began = &began;
            let attempt = async move {
                began.set(began.get() + 1);
                sleep(SHORT).await;
                Ok::<_, ()>(n)
            };
            (n, attempt)
        });
        assert_eq!(race(LONG, attempts).await.won, Some((0, 0)));
        assert_eq!(began.get(), 1);
    }

    #[tokio::test]
    async fn attempts_under_way_are_bounded() {
        let (under_way, most) = (Cell::new(0_usize), Cell::new(0));
        let attempts = (0..3 * MAX_UNDER_WAY).map(|n| {
            let (under_way, most) = (&under_way, &most);
            let attempt = async move {
                let _place = Place::take(under_way, most);
                pending::<Result<(), ()>>().await
            };
            (n, attempt)
        });
        let waiting = timeout(SHORT * 10, race(Duration::ZERO, attempts)).await;
        assert!(waiting.is_err(), "one of them ended");
        assert!(most.get() >= MAX_UNDER_WAY);
        // The one that gives its place is dropped when the next begins, in the same turn.
        assert!(most.get() <= MAX_UNDER_WAY + 1, "{}", most.get());
    }

    /// However many addresses are silent, each costs one head start.
    #[tokio::test]
    async fn longest_silent_gives_its_place_to_the_next() {
        let mut ends = vec![End::Never; 3 * MAX_UNDER_WAY];
        ends.push(End::Well);
        let race = run(Duration::ZERO, &ends).await;
        assert_eq!(race.won, Some((3 * MAX_UNDER_WAY, ())));
        assert_eq!(race.overtaken, (0..3 * MAX_UNDER_WAY).collect::<Vec<_>>());
    }

    /// Nobody is given up where nobody waits for the place.
    #[tokio::test]
    async fn last_ones_have_all_the_time() {
        let mut ends = vec![End::Never; MAX_UNDER_WAY];
        ends.push(End::Late);
        let attempts = ends.iter().map(|end| attempt(*end)).enumerate();
        let waiting = timeout(SHORT * 20, race(Duration::ZERO, attempts)).await;
        assert!(waiting.is_err(), "a silent one was given up");
    }

    struct Place<'a>(&'a Cell<usize>);

    impl<'a> Place<'a> {
        fn take(under_way: &'a Cell<usize>, most: &Cell<usize>) -> Self {
            under_way.set(under_way.get() + 1);
            most.set(most.get().max(under_way.get()));
            Self(under_way)
        }
    }

    impl Drop for Place<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    #[tokio::test]
    async fn all_failures_are_told() {
        let race = run(SHORT, &[End::Late, End::Badly]).await;
        assert!(race.won.is_none() && race.overtaken.is_empty());
        assert_eq!(race.failed, [(1, ()), (0, ())]);
        assert!(run(SHORT, &[]).await.won.is_none());
    }
}
