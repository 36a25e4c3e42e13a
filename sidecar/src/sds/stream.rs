//! One SDS stream: requests and changes in, responses out.
//!
//! There is no task and no timer for it: it is driven by its connection, and it sleeps until its
//! consumer says something or this node holds something new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_discovery::{Nack, Outcome, SessionError, Standing, View};
use countersign_envoy::SECRET_TYPE;
use countersign_serve::messages::Messages;
use countersign_telemetry::{Principal, peer_line};
use futures_util::Stream;
use jiff::Timestamp;
use tokio::sync::watch;
use tonic::Status;

use super::dialect::Dialect;
use super::metrics::OpenStream;
use super::refuse;
use super::view::CallerView;
use crate::attest::Caller;
use crate::consumers::{Connection, ConsumerKind};
use crate::holdings::Snapshot;
use crate::local_api::{LocalApi, StreamPermit};

const WILDCARD: &str = "*";

/// What this stream's consumer was given, by name.
pub(super) type Given = BTreeMap<String, GivenSecret>;

/// One secret that the consumer was given, and its place in the record of consumers.
#[derive(Debug)]
pub(super) struct GivenSecret {
    connection: Connection,
    is_bundle: bool,
    progress: Progress,
}

/// How far a consumer has come with one secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Progress {
    version: Arc<str>,
    acknowledged: Option<String>,
    credential_end: Option<Timestamp>,
}

pub(super) struct SecretStream<D: Dialect> {
    api: Arc<LocalApi>,
    caller: Caller,
    requests: Messages<D::Request>,
    dialect: D,
    generations: watch::Receiver<u64>,
    wanted: BTreeSet<String>,
    given: Given,
    attestation_due: bool,
    _permit: StreamPermit,
    _open: OpenStream,
}

impl<D: Dialect> SecretStream<D> {
    pub(super) fn new(
        api: Arc<LocalApi>,
        caller: Caller,
        permit: StreamPermit,
        requests: Messages<D::Request>,
        dialect: D,
    ) -> Self {
        Self {
            caller,
            requests,
            dialect,
            generations: api.holdings.subscribe(),
            wanted: BTreeSet::new(),
            given: Given::new(),
            attestation_due: true,
            _permit: permit,
            _open: api.metrics.stream_opened(),
            api,
        }
    }

    pub(super) fn into_responses(self) -> impl Stream<Item = Result<D::Response, Status>> + Send {
        futures_util::stream::unfold(Some(self), |stream| async move {
            let mut stream = stream?;
            match stream.next().await {
                Ok(Some(response)) => Some((Ok(response), Some(stream))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<D::Response>, Status> {
        loop {
            if let Some(response) = self.answer()? {
                return Ok(Some(response));
            }
            tokio::select! {
                request = self.requests.next() => match request? {
                    Some(request) => self.take_in(request)?,
                    None => return Ok(None),
                },
                changed = self.generations.changed() => if changed.is_err() {
                    return Ok(None);
                },
            }
        }
    }

    fn take_in(&mut self, request: D::Request) -> Result<(), Status> {
        let snapshot = self.api.holdings.load();
        let view = CallerView::new(&self.api, &snapshot, &self.caller, &self.given);
        let outcomes = match self.dialect.handle(request, &view) {
            Ok(outcomes) => outcomes,
            // Envoy asks one type a stream; what else is asked for hears nothing.
            Err(SessionError::UnknownType) => return Ok(()),
            Err(error) => return Err(refuse(&error)),
        };
        self.attestation_due = true;
        for outcome in outcomes {
            match outcome {
                Outcome::Subscribed { name, .. } => {
                    self.wanted.insert(name);
                }
                Outcome::Unsubscribed { name, .. } => {
                    self.wanted.remove(&name);
                    self.given.remove(&name);
                }
                Outcome::Refused { names, nack, .. } => self.refused(&names, &nack),
                Outcome::Acknowledged { .. } => {}
            }
        }
        Ok(())
    }

    fn refused(&self, names: &[String], nack: &Nack) {
        self.api.metrics.refused(nack.reason);
        let peer = self.caller.peer();
        peer_line!(
            WARN,
            Principal::uid(peer.uid),
            uid = peer.uid,
            pid = peer.pid,
            ?names,
            reason = nack.reason.as_str(),
            text = nack.text,
            "an envoy refused a secret"
        );
    }

    /// The next response, if this consumer lacks something that it may have. The caller is
    /// attested again before anything new reaches it.
    fn answer(&mut self) -> Result<Option<D::Response>, Status> {
        let snapshot = self.api.holdings.load();
        if self.attestation_due || self.caller.is_outdated(&snapshot) || self.has_news(&snapshot) {
            self.caller.attest_again(&snapshot);
            self.attestation_due = false;
        }
        let view = CallerView::new(&self.api, &snapshot, &self.caller, &self.given);
        let names = self.names(&view);
        self.api
            .demand(names.iter().filter_map(|name| view.missing(name)));
        let response = self.dialect.poll(&view);
        self.record(&snapshot, &names)?;
        Ok(response)
    }

    fn has_news(&self, snapshot: &Snapshot) -> bool {
        let view = CallerView::new(&self.api, snapshot, &self.caller, &self.given);
        self.names(&view).iter().any(|name| {
            let given = self.given.get(name).map(|given| &given.progress.version);
            match view.standing(SECRET_TYPE, name) {
                Standing::Present(resource) => given != Some(&resource.version),
                Standing::Removed | Standing::Absent => false,
            }
        })
    }

    /// The names that the consumer subscribed to; all of its names for a wildcard.
    fn names(&self, view: &CallerView<'_>) -> BTreeSet<String> {
        let mut names = self.wanted.clone();
        if names.remove(WILDCARD) {
            names.extend(view.names(SECRET_TYPE).iter().map(ToString::to_string));
        }
        names
    }

    /// Brings the record of consumers up to what this one was given and has acknowledged.
    fn record(&mut self, snapshot: &Snapshot, names: &BTreeSet<String>) -> Result<(), Status> {
        for name in names {
            let view = CallerView::new(&self.api, snapshot, &self.caller, &self.given);
            let Standing::Present(resource) = view.standing(SECRET_TYPE, name) else {
                continue;
            };
            let progress = Progress {
                version: resource.version,
                acknowledged: self.dialect.acknowledged(name).map(str::to_owned),
                credential_end: view.credential_end(name),
            };
            let new = match self.given.contains_key(name) {
                true => None,
                false => Some(connect(&self.api, &self.caller, &view, name)?),
            };
            if let Some(new) = new {
                self.given.insert(name.clone(), new);
            }
            if let Some(given) = self.given.get_mut(name) {
                given.advance(progress);
            }
        }
        Ok(())
    }
}

/// Enters a caller into the record as a consumer of one name.
pub(super) fn connect(
    api: &LocalApi,
    caller: &Caller,
    view: &CallerView<'_>,
    name: &str,
) -> Result<GivenSecret, Status> {
    let is_bundle = view.is_bundle(name);
    let id = format!("envoy:{}:{name}", caller.process_name());
    let resource = if is_bundle { name } else { "" };
    Ok(GivenSecret {
        connection: api.connect(&id, ConsumerKind::Envoy, resource)?,
        is_bundle,
        progress: Progress {
            credential_end: view.credential_end(name),
            ..Progress::default()
        },
    })
}

impl GivenSecret {
    pub(super) fn is_bundle(&self) -> bool {
        self.is_bundle
    }

    /// The answer of a unary fetch is all that such a consumer will ever say.
    pub(super) fn delivered(mut self, version: &Arc<str>) {
        let progress = Progress {
            version: version.clone(),
            acknowledged: Some(version.to_string()),
            ..self.progress.clone()
        };
        self.advance(progress);
    }

    fn advance(&mut self, progress: Progress) {
        if self.progress == progress {
            return;
        }
        let acknowledged = progress.acknowledged.clone().filter(|_| self.is_bundle);
        self.connection.note(|consumer| {
            consumer.bundle_version = acknowledged.or(consumer.bundle_version.take());
            consumer.credential_not_after =
                consumer.credential_not_after.max(progress.credential_end);
        });
        self.progress = progress;
    }
}
