//! The header `grpc-timeout`, through the layer that honours it.

use std::convert::Infallible;
use std::future::ready;
use std::sync::LazyLock;

use countersign_serve::deadline::DeadlineLayer;
use http::{HeaderValue, Request, Response};
use tokio::runtime::{Builder, Runtime};
use tonic::body::Body;
use tower::{Layer, Service, service_fn};

use super::material::texts;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let built = Builder::new_current_thread().enable_time().build();
    built.expect("a clock needs nothing")
});

/// A call with any value is answered: one to eight digits and a unit are taken, and nothing else.
pub fn run(data: &[u8]) -> bool {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return false;
    };
    let mut request = Request::new(());
    request.headers_mut().insert("grpc-timeout", value);
    let answer = |_: Request<()>| ready(Ok::<_, Infallible>(Response::new(Body::empty())));
    let mut service = DeadlineLayer.layer(service_fn(answer));
    let response = RUNTIME.block_on(async { service.call(request).await });
    let Ok(response) = response;
    let is_refused = response
        .headers()
        .get("grpc-status")
        .is_some_and(|status| status == "3");
    assert_eq!(is_refused, !is_timeout(data));
    !is_refused
}

/// The grammar of the protocol.
fn is_timeout(data: &[u8]) -> bool {
    let Some((unit, digits)) = data.split_last() else {
        return false;
    };
    b"HMSmun".contains(unit)
        && (1..=8).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
}

/// Every unit, and the longest.
pub fn seeds() -> Vec<Vec<u8>> {
    texts(&["1H", "20M", "3S", "400m", "5u", "60n", "99999999H", "0S"])
}
