//! Bytes that no client of HTTP/2 would send: a head that never ends (RFC 9113 section 6.10).

use anyhow::Result;
use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;
/// Largest frame where nothing else was agreed.
const FRAME_BYTES: usize = 16_384;
/// Frames of one head; a server gives up before.
const CONTINUATIONS: usize = 8;

/// Begins a head and never ends it; returns when the peer has closed the connection.
///
/// # Errors
/// The connection broke.
pub async fn endless_head(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    stream.write_all(&head()).await?;
    stream.flush().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

fn head() -> Bytes {
    let mut bytes = BytesMut::from(PREFACE);
    frame(&mut bytes, SETTINGS, 0, &[]);
    // One literal field of many kilobytes, which is not there yet (RFC 7541 section 6.2.2).
    let mut field = vec![0x00, 0x01, b'x', 0x7f, 0x80, 0xff, 0x03];
    field.resize(FRAME_BYTES, b'x');
    frame(&mut bytes, HEADERS, 1, &field);
    for _ in 0..CONTINUATIONS {
        frame(&mut bytes, CONTINUATION, 1, &[b'x'; 1_000]);
    }
    bytes.freeze()
}

fn frame(bytes: &mut BytesMut, kind: u8, stream: u32, payload: &[u8]) {
    let length = u64::try_from(payload.len()).expect("a short frame");
    bytes.put_uint(length, 3);
    bytes.put_u8(kind);
    bytes.put_u8(0);
    bytes.put_u32(stream);
    bytes.put_slice(payload);
}
