use std::sync::Mutex;

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Builder;

use super::*;

/// What reached the stream below: each write by itself, and how many flushes.
#[derive(Clone, Debug, Default)]
struct Below(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    writes: Vec<Vec<u8>>,
    flushes: usize,
    shut: bool,
    /// Most bytes of one write; then it is not ready once. `None` takes everything.
    stingy: Option<usize>,
    refused: bool,
}

impl Below {
    fn stingy(most: usize) -> Self {
        let below = Self::default();
        below.0.lock().unwrap().stingy = Some(most);
        below
    }

    fn writes(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().writes.clone()
    }
}

impl AsyncWrite for Below {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut seen = self.0.lock().unwrap();
        let most = seen.stingy.unwrap_or(usize::MAX);
        seen.refused = seen.stingy.is_some() && !seen.refused;
        if seen.refused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = bytes.len().min(most);
        seen.writes.push(bytes[..taken].to_vec());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut seen = self.0.lock().unwrap();
        seen.refused = seen.stingy.is_some() && !seen.refused;
        if seen.refused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        seen.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().shut = true;
        Poll::Ready(Ok(()))
    }
}

fn on_one_worker(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = Builder::new_multi_thread().worker_threads(1).build();
    let runtime = runtime.unwrap();
    runtime.block_on(async { tokio::spawn(work).await.unwrap() });
}

#[test]
fn answers_of_one_turn_are_one_write() {
    let below = Below::default();
    let seen = below.clone();
    on_one_worker(async move {
        let mut stream = Gathering::new(below);
        let (answer, mut answers) = tokio::sync::mpsc::channel::<&[u8]>(8);
        for _ in 0..3 {
            let answer = answer.clone();
            tokio::spawn(async move { answer.send(b"word ").await.unwrap() });
        }
        drop(answer);
        // As HTTP/2 does: a flush is asked for, and what comes meanwhile is written as well.
        stream.write_all(b"begin ").await.unwrap();
        loop {
            tokio::select! {
                biased;
                Some(word) = answers.recv() => stream.write_all(word).await.unwrap(),
                flushed = stream.flush() => break flushed.unwrap(),
            }
        }
    });
    assert_eq!(seen.writes(), [b"begin word word word "]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn flush_comes_where_nothing_else_is_to_do() {
    let below = Below::default();
    let seen = below.clone();
    let mut stream = Gathering::new(below);
    stream.write_all(b"alone").await.unwrap();
    assert_eq!(seen.writes(), Vec::<Vec<u8>>::new());
    stream.flush().await.unwrap();
    assert_eq!(seen.writes(), [b"alone"]);
    stream.flush().await.unwrap();
    assert_eq!(
        seen.0.lock().unwrap().flushes,
        2,
        "also where nothing waits"
    );
}

#[tokio::test]
async fn more_than_the_bound_does_not_wait() {
    let below = Below::default();
    let seen = below.clone();
    let mut stream = Gathering::new(below);
    stream.write_all(&[1; MAX_GATHERED_BYTES]).await.unwrap();
    assert_eq!(seen.writes().len(), 0);
    stream.write_all(&[2; 10]).await.unwrap();
    assert_eq!(seen.writes(), [vec![1; MAX_GATHERED_BYTES]]);
    assert!(stream.gathered.len() <= MAX_GATHERED_BYTES);
    stream.flush().await.unwrap();
    assert_eq!(
        stream.gathered.capacity(),
        0,
        "an idle connection keeps no buffer"
    );
}

/// Never takes anything, as the socket of a peer that never reads.
#[derive(Debug)]
struct Stuck;

impl AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn peer_that_never_reads_holds_no_more_than_the_bound() {
    // Small ones, and two that together just fit: room that is doubled would be more.
    for pieces in [vec![1_000; 40], vec![9_000, 7_000, 1_000]] {
        let mut stream = Gathering::new(Stuck);
        for piece in pieces {
            let bytes = vec![1; piece];
            let _ = futures_util::poll!(Box::pin(stream.write_all(&bytes)));
            let _ = futures_util::poll!(Box::pin(stream.flush()));
            assert!(stream.gathered.len() <= MAX_GATHERED_BYTES);
            let room = stream.gathered.capacity();
            assert!(room <= MAX_GATHERED_BYTES, "room for {room} bytes");
        }
    }
}

#[test]
fn enough_is_flushed_within_the_turn() {
    on_one_worker(async {
        let mut stream = Gathering::new(Below::default());
        stream.write_all(&[1; ENOUGH_BYTES - 1]).await.unwrap();
        assert!(futures_util::poll!(Box::pin(stream.flush())).is_pending());
        stream.write_all(&[1]).await.unwrap();
        assert!(futures_util::poll!(Box::pin(stream.flush())).is_ready());
    });
}

#[tokio::test]
async fn shutdown_hands_over_what_waits() {
    let below = Below::default();
    let seen = below.clone();
    let mut stream = Gathering::new(below);
    stream.write_all(b"last words").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(seen.writes(), [b"last words"]);
    assert!(seen.0.lock().unwrap().shut);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bytes_arrive_whole_and_in_order(
        pieces in proptest::collection::vec((0..40_000_usize, any::<bool>()), 1..12),
        most in 1_000..20_000_usize
    ) {
        let below = Below::stingy(most);
        let seen = below.clone();
        let sent: Vec<Vec<u8>> = pieces
            .iter()
            .zip(0_u8..)
            .map(|((length, _), value)| vec![value; *length])
            .collect();
        let (flushes, expected) = (pieces.clone(), sent.concat());
        on_one_worker(async move {
            let mut stream = Gathering::new(below);
            for (piece, (_, flush)) in sent.iter().zip(flushes) {
                stream.write_all(piece).await.unwrap();
                if flush {
                    stream.flush().await.unwrap();
                }
            }
            stream.flush().await.unwrap();
        });
        prop_assert_eq!(seen.writes().concat(), expected);
    }
}
