//! Carries bytes both ways between two streams, each direction closed on its own.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Buffer of a direction that has carried little: most connections are idle.
const SMALL_BUFFER_BYTES: usize = 1024;
/// Buffer of a direction that once filled the small one: one TLS record.
const LARGE_BUFFER_BYTES: usize = 16 * 1024;

/// Copies until both directions have ended. The end of one direction is passed on (half-close)
/// and the other goes on; an error of either ends both.
///
/// # Errors
/// Either stream broke. A TLS peer that vanishes without its close notification counts as broken.
pub(super) fn both_ways<A, B>(a: A, b: B) -> impl Future<Output = io::Result<(u64, u64)>>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    // Before the future begins, which would hold room for the streams as well.
    let (read_a, write_a) = tokio::io::split(a);
    let (read_b, write_b) = tokio::io::split(b);
    async { tokio::try_join!(one_way(read_a, write_b), one_way(read_b, write_a)) }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<u64> {
    let mut buffer = vec![0; SMALL_BUFFER_BYTES];
    let mut copied = 0;
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            to.shutdown().await?;
            return Ok(copied);
        }
        to.write_all(&buffer[..read]).await?;
        // TLS keeps what the socket did not take; the peer may be waiting for it.
        to.flush().await?;
        copied += read as u64;
        if read == buffer.len() && read < LARGE_BUFFER_BYTES {
            buffer.resize(LARGE_BUFFER_BYTES, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn the_end_of_one_direction_leaves_the_other() {
        let (mut client, near) = duplex(64);
        let (far, mut server) = duplex(64);
        let copying = tokio::spawn(both_ways(near, far));
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = Vec::new();
        server.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        assert_eq!(copying.await.unwrap().unwrap(), (8, 6));
    }

    #[tokio::test]
    async fn bytes_arrive_whole_and_in_order() {
        let (mut client, near) = duplex(700);
        let (far, mut server) = duplex(900);
        let copying = tokio::spawn(both_ways(near, far));
        let sent: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, expected);
        drop((server, writing.await.unwrap()));
        assert_eq!(copying.await.unwrap().unwrap(), (200_000, 0));
    }
}
