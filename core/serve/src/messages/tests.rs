use std::convert::Infallible;

use bytes::{Buf as _, BytesMut};
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{DecodeBuf, Decoder};
use tonic::{Code, Streaming};
use tower::{ServiceExt as _, service_fn};

use super::*;
use crate::limits::MAX_MESSAGE_BYTES;

const SHARES: Shares = Shares {
    total: 100_000,
    each: 60_000,
};
const MAX_BYTES: usize = 1 << 20;

/// Messages as they are.
struct Raw;

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; src.remaining()];
        src.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}

type Frames = mpsc::Sender<Result<Frame<Bytes>, Status>>;

/// The client's end of a call.
struct Caller {
    frames: Frames,
    request: Request<Body>,
    budget: Arc<ByteBudget>,
}

/// A call of one local user.
async fn call(rules: impl FnOnce(MessageBounds) -> MessageBounds) -> Caller {
    let budget = ByteBudget::new(SHARES);
    call_on(&budget, rules).await
}

async fn call_on(
    budget: &Arc<ByteBudget>,
    rules: impl FnOnce(MessageBounds) -> MessageBounds,
) -> Caller {
    let account = budget.account(Payer::Uid(7));
    let bounds = rules(MessageBounds::paid_by(move |_| account.clone()));
    let (frames, arriving) = mpsc::channel(64);
    let body = Body::new(StreamBody::new(ReceiverStream::new(arriving)));
    let (sender, mut seen) = mpsc::channel(1);
    let service = bounds.layer(service_fn(move |request: Request<Body>| {
        let sender = sender.clone();
        async move {
            sender.try_send(request).unwrap();
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    }));
    drop(service.oneshot(Request::new(body)).await.unwrap());
    Caller {
        frames,
        request: seen.recv().await.unwrap(),
        budget: budget.clone(),
    }
}

impl Caller {
    async fn send(&self, bytes: &[u8]) {
        let frame = Frame::data(Bytes::copy_from_slice(bytes));
        self.frames.send(Ok(frame)).await.unwrap();
    }

    /// As a call with one message reads.
    fn whole(self) -> (Frames, Streaming<Vec<u8>>) {
        let reader = Streaming::new_request(Raw, self.request.into_body(), None, Some(MAX_BYTES));
        (self.frames, reader)
    }

    fn messages(self) -> (Frames, Messages<Vec<u8>>) {
        let (head, body) = self.request.into_parts();
        let reader = Streaming::new_request(Raw, body, None, Some(MAX_BYTES));
        let mut request = tonic::Request::new(reader);
        *request.extensions_mut() = head.extensions;
        (self.frames, Messages::of(request, || Raw, MAX_BYTES))
    }
}

fn message(text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    bytes.extend(text);
    bytes
}

fn as_it_is(bounds: MessageBounds) -> MessageBounds {
    bounds
}

/// Calls a server whose answers are so many bytes.
fn answering(budget: &Arc<ByteBudget>, bytes: usize) -> impl AsyncFn() -> Response<Body> + use<> {
    let account = budget.account(Payer::Uid(7));
    let bounds = MessageBounds::paid_by(move |_| account.clone());
    let service = bounds.layer(service_fn(move |_: Request<Body>| async move {
        let whole = http_body_util::Full::new(Bytes::from(vec![0; bytes]));
        Ok::<_, Infallible>(Response::new(Body::new(whole)))
    }));
    async move || {
        let request = Request::new(Body::empty());
        service.clone().oneshot(request).await.unwrap()
    }
}

#[tokio::test]
async fn call_has_a_place_until_its_answer_has_left() {
    let begin = answering(&ByteBudget::new(SHARES), 10);
    let most = crate::limits::CALLS_OF_USERS.of_one();
    let mut leaving = Vec::new();
    for _ in 0..most {
        let mut body = begin().await.into_body();
        // h2 has the bytes, and the call has ended.
        leaving.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
        assert!(body.frame().await.is_none());
    }
    let refused = begin().await;
    assert_eq!(refused.headers()["grpc-status"], "8");
    leaving.pop();
    assert!(begin().await.headers().get("grpc-status").is_none());
}

#[tokio::test]
async fn unread_answers_are_charged_until_they_have_left() {
    let budget = ByteBudget::new(SHARES);
    let begin = answering(&budget, 25_000);
    let mut leaving = Vec::new();
    for _ in 0..2 {
        let mut body = begin().await.into_body();
        leaving.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(budget.held(), 50_000);
    let mut body = begin().await.into_body();
    let end = body.frame().await.unwrap().unwrap().into_trailers();
    assert_eq!(end.unwrap()["grpc-status"], "8");
    assert!(body.frame().await.is_none());
    // A piece of it is as long as the whole.
    let piece = leaving.pop().unwrap().split_off(24_999);
    assert_eq!(budget.held(), 50_000);
    drop(piece);
    assert_eq!(budget.held(), 25_000);
    leaving.clear();
    assert_eq!(budget.held(), 0);
}

/// The stream goes on, and idles.
#[tokio::test]
async fn message_that_was_read_is_not_kept() {
    let message = Bytes::from(vec![7; 50_000]);
    let (sent, own) = (message.clone(), ByteBudget::new(SHARES));
    let account = own.account(Payer::Uid(7));
    let bounds = MessageBounds::paid_by(move |_| account.clone());
    let service = bounds.layer(service_fn(move |_: Request<Body>| {
        let first = futures_util::stream::iter([Ok(sent.clone())]);
        let messages = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        async move {
            let (_, body, extensions) = encoded(messages, Bytes::clone).into_parts();
            drop::<Unsaid<Bytes>>(body);
            let mut response = Response::new(Body::empty());
            *response.extensions_mut() = extensions;
            Ok::<_, Infallible>(response)
        }
    }));
    let answer = service.oneshot(Request::new(Body::empty())).await.unwrap();
    let mut body = answer.into_body();
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((frame.len(), own.held()), (50_000, 50_000));
    drop(frame);
    assert!(
        timeout(Duration::from_millis(1), body.frame())
            .await
            .is_err()
    );
    assert_eq!(own.held(), 0);
    assert!(message.is_unique());
}

#[tokio::test]
async fn long_head_is_not_kept() {
    let service = MessageBounds::new(SHARES).layer(service_fn(async |request: Request<Body>| {
        assert_eq!(request.uri(), "/a");
        assert!(request.headers().is_empty());
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    let long = "a".repeat(crate::limits::MAX_HEADER_BYTES as usize / 2);
    let request = Request::post(format!("http://{long}/a?{long}")).header("x", &long);
    let answer = service.oneshot(request.body(Body::empty()).unwrap());
    answer.await.unwrap();
}

#[tokio::test]
async fn second_message_of_a_unary_call_ends_it() {
    let caller = call(as_it_is).await;
    caller.send(&message(b"one")).await;
    caller.send(&message(b"two")[..5]).await;
    let (_frames, mut reader) = caller.whole();
    assert_eq!(reader.message().await.unwrap().unwrap(), b"one");
    let status = reader.trailers().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn trailers_of_a_request_are_not_kept() {
    let caller = call(as_it_is).await;
    caller.send(&message(b"one")).await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x", "y".parse().unwrap());
    let frame = Frame::trailers(trailers);
    caller.frames.send(Ok(frame)).await.unwrap();
    let (frames, mut reader) = caller.whole();
    drop(frames);
    assert_eq!(reader.message().await.unwrap().unwrap(), b"one");
    let trailers = reader.trailers().await.unwrap();
    assert!(trailers.is_none_or(|trailers| trailers.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn unfinished_message_ends_its_call() {
    for sent in [&message(&[1; 1_000])[..500], &[0, 0], &[]] {
        let begun = Instant::now();
        let caller = call(as_it_is).await;
        let budget = caller.budget.clone();
        caller.send(sent).await;
        let (_frames, mut reader) = caller.whole();
        let status = reader.message().await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{sent:?}");
        assert_eq!(begun.elapsed(), MESSAGE_DEADLINE);
        assert_eq!(budget.held(), 0, "given back at once");
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_never_ends_its_request_is_cut() {
    let begun = Instant::now();
    let caller = call(as_it_is).await;
    caller.send(&message(b"all of it")).await;
    let (_frames, mut reader) = caller.whole();
    assert_eq!(reader.message().await.unwrap().unwrap(), b"all of it");
    let status = reader.trailers().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(begun.elapsed(), MESSAGE_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn stream_may_be_silent_between_messages() {
    let caller = call(as_it_is).await;
    let (frames, mut messages) = caller.messages();
    for _ in 0..3 {
        let silent = timeout(100 * MESSAGE_DEADLINE, messages.next()).await;
        assert!(silent.is_err(), "{silent:?}");
        let whole = Frame::data(Bytes::from(message(b"at last")));
        frames.send(Ok(whole)).await.unwrap();
        assert_eq!(messages.next().await.unwrap().unwrap(), b"at last");
    }
    let half = Frame::data(Bytes::from_static(&[0, 0, 0, 0, 9, 1]));
    frames.send(Ok(half)).await.unwrap();
    let begun = Instant::now();
    let status = messages.next().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(begun.elapsed(), MESSAGE_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn long_message_has_longer() {
    let begun = Instant::now();
    let budget = ByteBudget::new(Shares {
        total: MAX_MESSAGE_BYTES,
        each: MAX_MESSAGE_BYTES,
    });
    let caller = call_on(&budget, as_it_is).await;
    caller.send(&message(&vec![1; 1 << 20])[..10]).await;
    let (_frames, mut reader) = caller.whole();
    assert!(reader.message().await.is_err());
    assert_eq!(begun.elapsed(), MESSAGE_DEADLINE + Duration::from_secs(16));
}

#[tokio::test]
async fn unfinished_messages_are_charged_by_what_they_announce() {
    let budget = ByteBudget::new(SHARES);
    let mut held = Vec::new();
    for _ in 0..3 {
        let caller = call_on(&budget, as_it_is).await;
        caller.send(&message(&[1; 20_000])[..6]).await;
        let (frames, mut reader) = caller.whole();
        assert!(
            timeout(Duration::from_millis(1), reader.message())
                .await
                .is_err()
        );
        held.push((frames, reader));
    }
    assert_eq!(budget.held(), 60_000);
    let caller = call_on(&budget, as_it_is).await;
    caller.send(&message(&[1; 20_000])[..6]).await;
    let (_frames, mut reader) = caller.whole();
    let status = reader.message().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");

    // A message that comes whole is taken in all the same.
    let caller = call_on(&budget, as_it_is).await;
    caller.send(&message(&[1; 20_000])).await;
    let (_frames, mut reader) = caller.whole();
    assert!(reader.message().await.unwrap().is_some());

    // One is finished, one is abandoned.
    let (frames, mut reader) = held.pop().unwrap();
    let rest = Frame::data(Bytes::from(vec![1; 19_999]));
    frames.send(Ok(rest)).await.unwrap();
    assert_eq!(reader.message().await.unwrap().unwrap().len(), 20_000);
    assert_eq!(budget.held(), 40_000);
    held.pop();
    assert_eq!(budget.held(), 20_000);
    held.clear();
    assert_eq!(budget.held(), 0);
}

#[tokio::test]
async fn reader_that_panics_gives_back() {
    let caller = call(as_it_is).await;
    let budget = caller.budget.clone();
    caller.send(&message(&[1; 20_000])[..6]).await;
    let (_frames, mut reader) = caller.whole();
    let reading = tokio::spawn(async move {
        let waiting = timeout(Duration::from_millis(1), reader.message()).await;
        assert!(waiting.is_ok(), "on purpose");
    });
    assert!(reading.await.is_err());
    assert_eq!(budget.held(), 0);
}

#[tokio::test]
async fn announced_length_is_refused_before_it_is_charged() {
    let caller = call(as_it_is).await;
    let budget = caller.budget.clone();
    caller.send(&[0, 0xff, 0xff, 0xff, 0xff, 1]).await;
    let (_frames, mut reader) = caller.whole();
    let status = reader.message().await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert_eq!(budget.held(), 0);
}

/// An Envoy's node is field 1 here.
fn with_node(node: usize, names: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x0a];
    let mut length = node;
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(vec![b'n'; node]);
    bytes.extend(field(names));
    bytes
}

fn field(names: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x12, u8::try_from(names.len()).unwrap()];
    bytes.extend(names);
    bytes
}

fn sieving(bounds: MessageBounds) -> MessageBounds {
    bounds.sieved(|_| {
        Some(Fields {
            keep: &[2],
            max_bytes: 100,
            max_fields: 10,
        })
    })
}

#[tokio::test]
async fn fields_that_nobody_reads_are_not_buffered() {
    let budget = ByteBudget::new(SHARES);
    let whole = message(&with_node(61_000, b"web"));
    let mut held = Vec::new();
    for _ in 0..20 {
        let caller = call_on(&budget, sieving).await;
        for part in whole[..whole.len() - 1].chunks(16_384) {
            caller.send(part).await;
        }
        let (frames, mut messages) = caller.messages();
        assert!(
            timeout(Duration::from_millis(1), messages.next())
                .await
                .is_err()
        );
        held.push((frames, messages));
    }
    assert!(budget.held() <= 20 * 64, "{}", budget.held());
    for (frames, messages) in &mut held {
        let last = Frame::data(Bytes::copy_from_slice(&whole[whole.len() - 1..]));
        frames.send(Ok(last)).await.unwrap();
        assert_eq!(messages.next().await.unwrap().unwrap(), field(b"web"));
    }
    assert_eq!(budget.held(), 0);
}

#[tokio::test]
async fn kept_fields_have_a_bound_of_their_own() {
    for (length, code) in [(98, None), (99, Some(Code::OutOfRange))] {
        let caller = call(sieving).await;
        let name = vec![b'a'; length];
        caller.send(&message(&with_node(5_000, &name))).await;
        let (_frames, mut messages) = caller.messages();
        let read = messages.next().await;
        assert_eq!(read.err().map(|status| status.code()), code);
    }
    let caller = call(sieving).await;
    caller.send(&message(&[0x0a, 5, 1])).await;
    let (_frames, mut messages) = caller.messages();
    let status = messages.next().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Long ones, after which the reader is renewed, among short ones.
    #[test]
    fn messages_come_whole_however_they_are_cut(
        lengths in prop::collection::vec(prop_oneof![0usize..20, 4_000usize..9_000], 0..12),
        piece in prop_oneof![1usize..9, 1_000usize..20_000],
    ) {
        let sent: Vec<Vec<u8>> = (0u8..).zip(&lengths).map(|(n, length)| vec![n; *length]).collect();
        let bytes: Vec<u8> = sent.iter().flat_map(|text| message(text)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let read = runtime.block_on(async {
            let caller = call(as_it_is).await;
            let (frames, mut messages) = caller.messages();
            tokio::spawn(async move {
                for piece in bytes.chunks(piece) {
                    let frame = Frame::data(Bytes::copy_from_slice(piece));
                    frames.send(Ok(frame)).await.unwrap();
                }
            });
            let mut read = Vec::new();
            while let Some(message) = messages.next().await.unwrap() {
                read.push(message);
            }
            read
        });
        prop_assert_eq!(read, sent);
    }
}

/// What a stream holds between two messages, however long they were.
#[tokio::test]
async fn body_hands_on_one_message_at_a_time() {
    let caller = call(as_it_is).await;
    let mut both = BytesMut::from(&message(b"one")[..]);
    both.extend(message(b"two"));
    caller.send(&both).await;
    let shared = caller.request.extensions().get::<SharedBody>();
    shared.unwrap().lock().stream();
    let mut body = caller.request.into_body();
    for text in [b"one", b"two"] {
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message(text));
    }
}

/// What is kept of it comes in pieces, as it does from a socket.
#[tokio::test]
async fn long_message_is_charged_what_it_holds() {
    let long = |bounds: MessageBounds| {
        bounds.sieved(|_| {
            Some(Fields {
                keep: &[2],
                max_bytes: MAX_BYTES,
                max_fields: 10_000,
            })
        })
    };
    let caller = call(long).await;
    let budget = caller.budget.clone();
    let names = field(&[b'a'; 98]).repeat(560);
    let whole = message(&names);
    let (last, parts) = whole.split_last().unwrap();
    for part in parts.chunks(1_000) {
        caller.send(part).await;
    }
    let (frames, mut messages) = caller.messages();
    let waiting = timeout(Duration::from_millis(1), messages.next()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    let held = budget.held();
    let most = names.len() + pieces::PIECE_BYTES;
    assert!((names.len()..=most).contains(&held), "{held}");
    let last = Frame::data(Bytes::copy_from_slice(&[*last]));
    frames.send(Ok(last)).await.unwrap();
    assert_eq!(messages.next().await.unwrap().unwrap(), names);
    assert_eq!(budget.held(), 0);
}

#[tokio::test]
async fn call_is_charged_until_its_answer_has_left() {
    let budget = ByteBudget::new(SHARES);
    let account = budget.account(Payer::Uid(7));
    let bounds = MessageBounds::paid_by(move |_| account.clone()).calls_cost(25_000);
    let (sender, mut calls) = mpsc::channel(1);
    let service = bounds.layer(service_fn(move |request: Request<Body>| {
        let sender = sender.clone();
        async move {
            let payer = CallPayer::of(request.extensions()).unwrap();
            sender.try_send(payer).unwrap();
            let whole = http_body_util::Full::new(Bytes::from_static(b"short"));
            Ok::<_, Infallible>(Response::new(Body::new(whole)))
        }
    }));
    let begin = async || {
        let answer = service.clone().oneshot(Request::new(Body::empty()));
        answer.await.unwrap()
    };
    let (first, payer) = (begin().await, calls.recv().await.unwrap());
    let _second = (begin().await, calls.recv().await.unwrap());
    assert_eq!(budget.held(), 50_000);
    assert_eq!(begin().await.headers()["grpc-status"], "8");
    let other = ByteBudget::new(SHARES);
    payer.move_to(&other.account(Payer::Uid(8))).unwrap();
    assert_eq!((budget.held(), other.held()), (25_000, 25_000));
    drop(payer);
    let mut body = first.into_body();
    let leaving = body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(other.held(), 25_000);
    drop(leaving);
    assert_eq!(other.held(), 0);
}

#[tokio::test]
async fn answer_to_an_attestation_leaves_whatever_others_hold() {
    let budget = ByteBudget::new(SHARES);
    for (payer, is_served) in [
        (Payer::source(std::net::Ipv4Addr::LOCALHOST.into()), true),
        (Payer::Uid(7), false),
    ] {
        let account = budget.account(payer);
        let mut all = account.open();
        all.resize(SHARES.each).unwrap();
        let bounds = MessageBounds::paid_by(move |_| account.clone());
        let service = bounds.layer(service_fn(async |_: Request<Body>| {
            let whole = http_body_util::Full::new(Bytes::from(vec![0; 4_000]));
            Ok::<_, Infallible>(Response::new(Body::new(whole)))
        }));
        let answer = service.oneshot(Request::new(Body::empty())).await.unwrap();
        let frame = answer.into_body().frame().await.unwrap().unwrap();
        assert_eq!(frame.is_data(), is_served);
    }
}
