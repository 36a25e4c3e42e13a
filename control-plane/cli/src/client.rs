//! The admin socket from the operator's side, and how refusals become exit codes.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use countersign_cli::{Exit, Failure};
use countersign_proto::admin::admin_client::AdminClient;
use countersign_proto::{CODE_KEY, REMEDY_KEY};
use countersign_serve::unix::{Obstacle, dial};
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, TimeoutExpired};

use crate::called::Called;
use crate::socket::{self, Named, Place};

/// A verb that does not wait for a rotation is answered in this time or given up.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// How long a row of a list may take to come.
const ROW_DEADLINE: Duration = Duration::from_secs(30);
/// The socket is opened in this time or given up.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer: a list of every registration.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// A control plane that says nothing for so long is asked whether it is there,
const ASKED_AFTER: Duration = Duration::from_secs(10);
/// and has this time to answer. It does so whatever a call waits for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// What mends a connection that does not come about, or is closed at once.
const REACHING: &str = "start the control plane, or name its socket with --admin-socket";

/// What mends the lack of a right to the socket.
const ADMITTED: &str = "run this as root or as the control plane's own user: nobody else may use its \
                        admin socket";

/// What mends a control plane that stands still.
const STANDING_STILL: &str = "it runs and stands still: look whether it was stopped (ps shows T) or its \
                              machine has no time for it, and what its log says last; restart it if \
                              it stays so";

/// What mends a connection that ends under a call.
const BROKEN: &str = "look whether the control plane ended, and what its log says last; try again once \
                      it runs";

/// What mends a path that is not a socket's.
const NAMING: &str = "name the control plane's socket with --admin-socket: it is admin.socket of its \
                      configuration";

/// What mends a socket that somebody else listens on.
const SQUATTED: &str = "nothing was sent: name the control plane's own socket with --admin-socket, \
                        in a directory that root made for its user, as /run/countersign is";

/// Knows what socket was named; finds it and connects when a verb needs it.
#[derive(Debug)]
pub(crate) struct Client {
    named: Named,
    called: Called,
}

impl Client {
    pub(crate) fn new(named: Named, called: Called) -> Self {
        Self { named, called }
    }

    /// How commands that reach the same control plane are printed.
    pub(crate) fn called(&self) -> &Called {
        &self.called
    }

    /// Opens the admin socket.
    pub(crate) async fn connect(&self) -> Result<AdminClient<Channel>, Failure> {
        let Place { path, trust } = socket::find(&self.named)?;
        let socket = path.clone();
        let dial = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { dial(&socket, trust).await.map(TokioIo::new) }
        });
        // The URI only names the authority of the requests: the socket is dialled.
        let channel = Endpoint::from_static("http://countersign.invalid")
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(ASKED_AFTER)
            .keep_alive_timeout(ANSWERS_WITHIN)
            .connect_with_connector(dial)
            .await
            .map_err(|error| unreachable(&path, &error))?;
        Ok(AdminClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES))
    }
}

fn unreachable(socket: &Path, error: &(dyn Error + 'static)) -> Failure {
    let cause = causes(error).last().unwrap_or(error);
    let io = cause.downcast_ref::<io::Error>();
    let obstacle = match io {
        Some(io) => Obstacle::of(io),
        None if is_silence(error) => Obstacle::Silent,
        None => Obstacle::Absent,
    };
    let (exit, code, remedy) = match obstacle {
        Obstacle::OfAnother => (Exit::Denied, "admin_socket_of_another", SQUATTED),
        Obstacle::NoSocket => (Exit::Usage, "admin_socket_is_none", NAMING),
        Obstacle::Denied => (Exit::Denied, "admin_socket_denied", ADMITTED),
        Obstacle::Silent => return no_answer(&socket.display().to_string()),
        Obstacle::Absent => (Exit::Unreachable, "control_plane_unreachable", REACHING),
    };
    let message = format!("cannot reach {}: {cause}", socket.display());
    Failure::new(exit, code, message, remedy)
}

/// An error and all that it comes from.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| (*cause).source())
}

/// Whether time ran out, or no sign of life came: the connection itself is whole.
fn is_silence(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        let io = io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
        let library = cause.downcast_ref::<hyper::Error>();
        let library = library.is_some_and(hyper::Error::is_timeout);
        io || library || cause.is::<TimeoutExpired>()
    })
}

fn no_answer(whose: &str) -> Failure {
    let message = format!("the control plane behind {whose} does not answer");
    Failure::new(Exit::Unreachable, "no_answer", message, STANDING_STILL)
}

/// A request that is given up after [`ANSWER_DEADLINE`].
pub(crate) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_DEADLINE);
    request
}

/// What a status means to the user. Code and remedy come from the control plane where it gave
/// them.
#[allow(
    clippy::needless_pass_by_value,
    reason = "used as a function of map_err"
)]
pub(crate) fn failure(status: Status) -> Failure {
    if is_silence(&status) {
        return no_answer("the admin socket");
    }
    let has_cause = Error::source(&status).is_some();
    let was_closed = match status.code() {
        Code::Unknown | Code::Internal | Code::Unavailable => has_cause,
        // Only our own side cancels: the connection went away under a call.
        Code::Cancelled => true,
        _ => false,
    };
    if was_closed {
        let why = causes(&status).last().map(ToString::to_string);
        let why = why.unwrap_or_else(|| status.message().to_owned());
        return Failure::new(
            Exit::Unreachable,
            "connection_closed",
            format!("the connection to the control plane broke: {why}"),
            BROKEN,
        );
    }
    let told = |key| {
        let value = status.metadata().get(key);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let (exit, code, remedy) = match status.code() {
        Code::InvalidArgument => (Exit::Usage, "invalid_argument", "see --help of this verb"),
        Code::PermissionDenied | Code::FailedPrecondition | Code::Unauthenticated => {
            (Exit::Denied, "denied", "see the log of the control plane")
        }
        Code::Unimplemented => {
            return Failure::new(
                Exit::Usage,
                "not_a_control_plane",
                "who answers at this socket does not know the call",
                "name the admin socket of a control plane of this version with --admin-socket; a \
                 sidecar's sockets are another thing",
            );
        }
        Code::NotFound => (Exit::Denied, "not_found", "see countersign list"),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => (
            Exit::Unreachable,
            "unavailable",
            "try again; see the log of the control plane",
        ),
        _ => (
            Exit::Bug,
            "internal",
            "report it with the log of the control plane",
        ),
    };
    Failure::new(
        exit,
        told(CODE_KEY).as_deref().unwrap_or(code),
        status.message(),
        told(REMEDY_KEY).unwrap_or_else(|| remedy.to_owned()),
    )
}

/// The next row of a list.
pub(crate) async fn next<T>(rows: &mut tonic::Streaming<T>) -> Result<Option<T>, Failure> {
    let row = tokio::time::timeout(ROW_DEADLINE, rows.message()).await;
    let row = row.map_err(|_| no_answer("the admin socket"))?;
    row.map_err(failure)
}

/// A time on the wire as people and scripts read it.
pub(crate) fn time(at: Option<prost_types::Timestamp>) -> Option<jiff::Timestamp> {
    let at = at?;
    jiff::Timestamp::new(at.seconds, at.nanos).ok()
}

#[cfg(test)]
mod tests;
