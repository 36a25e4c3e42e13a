//! Both sides of h2, in memory, without a runtime.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use countersign_serve::limits::MAX_HEADER_BYTES;
use h2::server::{Builder, Connection};
use http::Request;
use tokio::io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf, duplex};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// More than anybody says here at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A server of h2 with our bound of a header list, which resets as many streams as need be.
pub(super) struct Peer {
    server: Connection<DuplexStream, Bytes>,
    ours: DuplexStream,
    is_alive: bool,
}

impl Peer {
    /// One that has heard the preface.
    pub(super) fn new() -> Self {
        let (mut ours, theirs) = duplex(BUFFER_BYTES);
        say(&mut ours, PREFACE);
        let mut builder = Builder::new();
        builder
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_local_error_reset_streams(None);
        let mut handshake = pin!(builder.handshake(theirs));
        let server = std::iter::repeat_with(|| handshake.as_mut().poll(&mut unwoken()))
            .find_map(|polled| match polled {
                Poll::Ready(server) => Some(server),
                Poll::Pending => None,
            })
            .expect("no end of polls")
            .expect("a preface");
        Self {
            server,
            ours,
            is_alive: true,
        }
    }

    /// Says that to it: how many requests it accepts then. It answers none, and resets them.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> usize {
        if !self.is_alive {
            return 0;
        }
        say(&mut self.ours, bytes);
        let mut accepted = 0;
        while let Poll::Ready(next) = self.server.poll_accept(&mut unwoken()) {
            match next {
                Some(Ok(_)) => accepted += 1,
                Some(Err(_)) | None => {
                    self.is_alive = false;
                    break;
                }
            }
        }
        heard(&mut self.ours);
        accepted
    }

    /// Whether the connection goes on.
    pub(super) fn is_alive(&self) -> bool {
        self.is_alive
    }
}

/// What a client of h2 says that makes some requests: without the preface.
pub(super) fn client() -> Vec<u8> {
    let (mut ours, theirs) = duplex(BUFFER_BYTES);
    let cx = &mut unwoken();
    let Poll::Ready(Ok((mut client, mut connection))) =
        pin!(h2::client::handshake(theirs)).poll(cx)
    else {
        unreachable!("there is room for a preface");
    };
    // The settings of a server, without which a client waits.
    say(&mut ours, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let mut said = Vec::new();
    for at in 0..12 {
        let _ = pin!(&mut connection).poll(cx);
        let request = Request::post(format!("http://a.example/service/{}", at % 3))
            .header("te", "trailers")
            .header("grpc-timeout", format!("{at}S"))
            .header("x-long", "long".repeat(at * 400));
        let request = request.body(()).expect("a request");
        let sent = client.send_request(request, true);
        drop(sent.expect("streams enough"));
        let _ = pin!(&mut connection).poll(cx);
        said.extend(heard(&mut ours));
    }
    said.split_off(PREFACE.len())
}

fn say(to: &mut DuplexStream, bytes: &[u8]) {
    let written = Pin::new(to).poll_write(&mut unwoken(), bytes);
    // h2 may have closed its side.
    assert!(!matches!(written, Poll::Pending), "the buffer has room");
}

fn heard(from: &mut DuplexStream) -> Vec<u8> {
    let (mut heard, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let mut buffer = ReadBuf::new(&mut piece);
        let read = Pin::new(&mut *from).poll_read(&mut unwoken(), &mut buffer);
        if !matches!(read, Poll::Ready(Ok(()))) || buffer.filled().is_empty() {
            return heard;
        }
        heard.extend(buffer.filled());
    }
}

fn unwoken() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
