//! The admin socket from the operator's side, and how refusals become exit codes.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use countersign_cli::{Exit, Failure};
use countersign_proto::admin::admin_client::AdminClient;
use countersign_proto::{CODE_KEY, REMEDY_KEY};
use countersign_serve::unix::{NotASocket, Squatter, dial};
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

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

/// What mends a connection that does not come about, or is closed at once.
const REACHING: &str = "start the control plane, or name its socket with --admin-socket; \
                        only its own user and root may use it";

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
            .connect_with_connector(dial)
            .await
            .map_err(|error| unreachable(&path, &error))?;
        Ok(AdminClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES))
    }
}

fn unreachable(socket: &Path, error: &(dyn Error + 'static)) -> Failure {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let io = cause.downcast_ref::<io::Error>();
    let denied = io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied);
    let inside = io.and_then(io::Error::get_ref);
    let (exit, code, remedy) = if inside.is_some_and(<dyn Error + Send + Sync>::is::<Squatter>) {
        (Exit::Denied, "admin_socket_of_another", SQUATTED)
    } else if inside.is_some_and(<dyn Error + Send + Sync>::is::<NotASocket>) {
        (Exit::Usage, "admin_socket_is_none", NAMING)
    } else if denied {
        (Exit::Denied, "admin_socket_denied", REACHING)
    } else {
        (Exit::Unreachable, "control_plane_unreachable", REACHING)
    };
    let message = format!("cannot reach {}: {cause}", socket.display());
    Failure::new(exit, code, message, remedy)
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
    let has_cause = Error::source(&status).is_some();
    let was_closed = match status.code() {
        Code::Unknown | Code::Internal | Code::Unavailable => has_cause,
        // Only our own side cancels: the connection went away under a call.
        Code::Cancelled => true,
        _ => false,
    };
    if was_closed {
        // No answer of the control plane: it closed the connection, as it does to other users.
        return Failure::new(
            Exit::Unreachable,
            "connection_closed",
            format!("the connection was closed: {}", status.message()),
            REACHING,
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
    let row = row.map_err(|_| Status::deadline_exceeded("the list stopped coming"));
    row.and_then(|row| row).map_err(failure)
}

/// A time on the wire as people and scripts read it.
pub(crate) fn time(at: Option<prost_types::Timestamp>) -> Option<jiff::Timestamp> {
    let at = at?;
    jiff::Timestamp::new(at.seconds, at.nanos).ok()
}
