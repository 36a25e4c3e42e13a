//! What the caller is told of a message that is larger than the transport takes.
//!
//! The codec gives up at the length that stands before a message, so that nothing of it is kept,
//! and says OUT_OF_RANGE without a code or a remedy. No handler of ours says that: here it becomes
//! the caller's mistake, by the name of its rule.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_issue::request::RequestError;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

use super::refusing::described;

const SIGN: &str = "/countersign.admin.v1.Admin/Sign";

/// A service whose refusals of oversized messages are described.
#[derive(Clone, Debug)]
pub(crate) struct Described<S>(pub(super) S);

impl<S: NamedService> NamedService for Described<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = Result<http::Response<Body>, Infallible>;

impl<S> Service<http::Request<Body>> for Described<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let is_sign = request.uri().path() == SIGN;
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let status = Status::from_header_map(answer.headers());
            let is_oversize = status.is_some_and(|it| it.code() == Code::OutOfRange);
            Ok(if is_oversize {
                refusal(is_sign)
            } else {
                answer
            })
        })
    }
}

fn refusal(is_sign: bool) -> http::Response<Body> {
    let status = if is_sign {
        let error = RequestError::TooLarge;
        let status = Status::invalid_argument(error.to_string());
        described(status, error.code(), error.remedy())
    } else {
        let status = Status::invalid_argument("the request is larger than any can be");
        described(status, "message_too_large", "ask for less at once")
    };
    status.into_http()
}
