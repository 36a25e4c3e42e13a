//! A tonic server builder with our limits.

use tonic::transport::Server;
use tower::layer::util::{Identity, Stack};

use crate::deadline::DeadlineLayer;

/// A builder whose every bound is set and whose requests end at their `grpc-timeout`. Message
/// sizes are set on each generated service (`max_decoding_message_size`).
pub fn server() -> Server<Stack<DeadlineLayer, Identity>> {
    Server::builder().layer(DeadlineLayer)
}
