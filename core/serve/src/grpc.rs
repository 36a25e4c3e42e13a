//! A tonic server builder with our limits.

use tonic::transport::Server;
use tower::layer::util::{Identity, Stack};

use crate::deadline::DeadlineLayer;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, LOCAL_CONNECTION_WINDOW_BYTES,
    LOCAL_STREAM_WINDOW_BYTES, MAX_CONCURRENT_CALLS, MAX_CONCURRENT_STREAMS, MAX_HEADER_BYTES,
    MAX_RESET_STREAMS, MAX_SECRET_STREAMS, STREAM_WINDOW_BYTES,
};
use crate::messages::MessageBounds;

/// A server whose every bound is set.
pub type BoundedServer = Server<Stack<MessageBounds, Stack<DeadlineLayer, Identity>>>;

/// A builder for the Unix socket that Envoys connect to, as [`local_server`], with a stream for each
/// secret. All of them run at once: a call that waited for another would wait before what it holds is
/// counted.
pub fn secret_server(messages: MessageBounds) -> BoundedServer {
    local_server(messages)
        .max_concurrent_streams(MAX_SECRET_STREAMS)
        .concurrency_limit_per_connection(MAX_SECRET_STREAMS as usize)
}

/// A builder for a Unix socket, as [`server`], with the smallest windows.
pub fn local_server(messages: MessageBounds) -> BoundedServer {
    server(messages)
        .initial_stream_window_size(LOCAL_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(LOCAL_CONNECTION_WINDOW_BYTES)
}

/// A builder whose every bound is set, whose requests end at their `grpc-timeout`, and whose callers
/// send what `messages` lets them. Message sizes are set on each generated service
/// (`max_decoding_message_size`).
pub fn server(messages: MessageBounds) -> BoundedServer {
    Server::builder()
        .accept_http1(false)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESET_STREAMS))
        .http2_max_local_error_reset_streams(Some(MAX_RESET_STREAMS))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .concurrency_limit_per_connection(MAX_CONCURRENT_CALLS)
        .layer(DeadlineLayer)
        .layer(messages)
}

// No call waits outside of the layers: what it holds is counted from its beginning.
const _: () = assert!(MAX_CONCURRENT_STREAMS as usize <= MAX_CONCURRENT_CALLS);

#[cfg(test)]
mod tests;
