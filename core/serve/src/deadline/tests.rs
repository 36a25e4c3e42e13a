use std::convert::Infallible;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use tower::{ServiceExt, service_fn};

use super::*;

/// What the handler answers.
#[derive(Clone, Copy, PartialEq)]
enum Handler {
    /// Nothing, ever.
    Hang,
    /// A head, and then nothing.
    Hold,
    /// A head, and then a message whenever one is asked for.
    Gush,
    /// A body that ends at once.
    Finish,
}

fn body(handler: Handler) -> Body {
    let message = |n: u64| Ok::<_, Status>(Frame::data(Bytes::from(n.to_string())));
    match handler {
        Handler::Finish => Body::empty(),
        Handler::Gush => Body::new(StreamBody::new(stream::unfold(0, move |n| async move {
            // A little time passes, as it does between messages.
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((message(n), n + 1))
        }))),
        _ => Body::new(StreamBody::new(stream::pending::<
            Result<Frame<Bytes>, Status>,
        >())),
    }
}

async fn call(handler: Handler, timeout: Option<&str>) -> Response<Body> {
    let inner = service_fn(move |_: Request<Body>| async move {
        if handler == Handler::Hang {
            std::future::pending::<()>().await;
        }
        Ok::<_, Infallible>(Response::new(body(handler)))
    });
    let mut request = Request::new(Body::empty());
    if let Some(timeout) = timeout {
        let value = HeaderValue::from_str(timeout).unwrap();
        request.headers_mut().insert("grpc-timeout", value);
    }
    DeadlineLayer.layer(inner).oneshot(request).await.unwrap()
}

fn status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status").map(|v| v.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn held_stream_ends_at_its_deadline() {
    let begun = Instant::now();
    let response = call(Handler::Hold, Some("2S")).await;
    assert_eq!(status(response.headers()), None, "the head came first");
    let end = response.into_body().collect().await.unwrap();
    assert_eq!(status(end.trailers().unwrap()), Some("4"));
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn busy_stream_ends_at_its_deadline() {
    let begun = Instant::now();
    let response = call(Handler::Gush, Some("100m")).await;
    let end = response.into_body().collect().await.unwrap();
    assert_eq!(status(end.trailers().unwrap()), Some("4"));
    assert!(begun.elapsed() <= Duration::from_millis(101));
    assert!(!end.to_bytes().is_empty(), "until then it was served");
}

#[tokio::test(start_paused = true)]
async fn silent_handler_ends_at_its_deadline() {
    let begun = Instant::now();
    let response = call(Handler::Hang, Some("3S")).await;
    assert_eq!(status(response.headers()), Some("4"));
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn zero_timeout_ends_at_once() {
    for zero in ["0n", "0S", "00000000H"] {
        let begun = Instant::now();
        let response = call(Handler::Hang, Some(zero)).await;
        assert_eq!(status(response.headers()), Some("4"));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test]
async fn expired_call_never_reaches_its_handler() {
    let inner = service_fn(
        |_: Request<Body>| -> std::future::Ready<Result<_, Infallible>> {
            unreachable!("nobody waits for the answer")
        },
    );
    let mut request = Request::new(Body::empty());
    let zero = HeaderValue::from_static("0n");
    request.headers_mut().insert("grpc-timeout", zero);
    let response = DeadlineLayer.layer(inner).oneshot(request).await.unwrap();
    assert_eq!(status(response.headers()), Some("4"));
}

#[tokio::test(start_paused = true)]
async fn malformed_timeout_is_refused() {
    for malformed in [
        "",
        "1",
        "S",
        "123456789S",
        "-1S",
        "+1S",
        "1X",
        "1 S",
        "1s",
        "1.5S",
        "0x1S",
        "1SS",
    ] {
        let response = call(Handler::Finish, Some(malformed)).await;
        assert_eq!(status(response.headers()), Some("3"), "{malformed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_in_time_are_left_alone() {
    for timeout in [None, Some("1S"), Some("99999999H")] {
        let response = call(Handler::Finish, timeout).await;
        assert_eq!(status(response.headers()), None);
        let end = response.into_body().collect().await.unwrap();
        assert_eq!(end.trailers(), None);
    }
}

#[test]
fn every_unit_is_understood() {
    for (value, nanos) in [
        ("2H", 7_200_000_000_000),
        ("2M", 120_000_000_000),
        ("2S", 2_000_000_000),
        ("2m", 2_000_000),
        ("2u", 2_000),
        ("2n", 2),
    ] {
        let parsed = parse(&HeaderValue::from_static(value));
        assert_eq!(parsed, Some(Duration::from_nanos(nanos)), "{value}");
    }
    let not_ascii = HeaderValue::from_bytes(b"1\xffS").unwrap();
    assert_eq!(parse(&not_ascii), None);
}

proptest! {
    #[test]
    fn any_value_is_judged(value in "[ -~]{0,12}") {
        let header = HeaderValue::from_str(&value).unwrap();
        let well_formed = value.len() >= 2
            && value.len() <= 9
            && value[..value.len() - 1].bytes().all(|b| b.is_ascii_digit())
            && "HMSmun".contains(&value[value.len() - 1..]);
        prop_assert_eq!(parse(&header).is_some(), well_formed);
    }
}
