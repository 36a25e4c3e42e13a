//! Several attempts for one result, the best first: the next one begins after a head start, or as
//! soon as one failed (the idea of RFC 8305). What works is not kept waiting by what is silent.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

/// An attempt has this long before the next one begins beside it. Longer than a browser would
/// wait: who hurries makes a control plane that is slow because it is busy greet everybody twice.
pub(super) const HEAD_START: Duration = Duration::from_secs(1);
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
pub(super) async fn race<L, T, E, F>(attempts: impl IntoIterator<Item = (L, F)>) -> Race<L, T, E>
where
    L: Clone + PartialEq,
    F: Future<Output = Result<T, E>>,
{
    race_with(HEAD_START, attempts).await
}

async fn race_with<L, T, E, F>(
    head_start: Duration,
    attempts: impl IntoIterator<Item = (L, F)>,
) -> Race<L, T, E>
where
    L: Clone + PartialEq,
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = attempts.into_iter().peekable();
    let mut under_way = FuturesUnordered::new();
    let mut race = Race {
        won: None,
        failed: Vec::new(),
        overtaken: Vec::new(),
    };
    loop {
        if under_way.len() < MAX_UNDER_WAY
            && let Some((label, attempt)) = waiting.next()
        {
            race.overtaken.push(label.clone());
            under_way.push(async move { (label, attempt.await) });
        }
        let may_begin = waiting.peek().is_some() && under_way.len() < MAX_UNDER_WAY;
        tokio::select! {
            ended = under_way.next() => {
                let Some((label, result)) = ended else {
                    return race;
                };
                race.overtaken.retain(|other| *other != label);
                match result {
                    Ok(won) => {
                        race.won = Some((label, won));
                        return race;
                    }
                    Err(error) => race.failed.push((label, error)),
                }
            }
            () = sleep(head_start), if may_begin => {}
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
        let race = timeout(BOUND, race_with(head_start, attempts));
        race.await.expect("within the bound")
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
        assert_eq!(race_with(LONG, attempts).await.won, Some((0, 0)));
        assert_eq!(began.get(), 1);
    }

    #[tokio::test]
    async fn attempts_under_way_are_bounded() {
        let mut ends = vec![End::Never; MAX_UNDER_WAY];
        ends.push(End::Well);
        let waiting = race_with(Duration::ZERO, ends.iter().map(|e| attempt(*e)).enumerate());
        assert!(
            timeout(SHORT * 10, waiting).await.is_err(),
            "the last one began"
        );
        ends[0] = End::Late;
        let race = run(Duration::ZERO, &ends).await;
        assert_eq!(race.won, Some((MAX_UNDER_WAY, ())));
    }

    #[tokio::test]
    async fn all_failures_are_told() {
        let race = run(SHORT, &[End::Late, End::Badly]).await;
        assert!(race.won.is_none() && race.overtaken.is_empty());
        assert_eq!(race.failed, [(1, ()), (0, ())]);
        assert!(run(SHORT, &[]).await.won.is_none());
    }
}
