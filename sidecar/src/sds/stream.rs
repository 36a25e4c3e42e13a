//! One SDS stream: requests and changes in, responses out.
//!
//! There is no task and no timer for it: it is driven by its connection, and it sleeps until its
//! consumer says something or this node holds something new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_discovery::{Nack, Outcome, SessionError};
use countersign_serve::messages::{Charge, Messages};
use countersign_serve::places::Standing;
use countersign_telemetry::{Principal, peer_line};
use futures_util::Stream;
use jiff::Timestamp;
use tonic::Status;

use super::dialect::Dialect;
use super::metrics::OpenStream;
use super::view::{CallerView, Finding, NameKind};
use super::{LIMITS, Shared, refuse};
use crate::attest::Caller;
use crate::consumers::{ConsumerKind, ConsumerStream};
use crate::holdings::{Followed, Follower, Interest, MAX_FOLLOWED_NAMES, Snapshot};
use crate::local_api::{LocalApi, LocalCaller, StreamPermit, in_doubt};

const WILDCARD: &str = "*";

/// What this stream's consumer was given, by name.
pub(super) type Given = BTreeMap<String, GivenSecret>;

/// One secret that the consumer was given, and its place in the record of consumers.
#[derive(Debug)]
pub(super) struct GivenSecret {
    connection: ConsumerStream,
    is_bundle: bool,
    progress: Progress,
}

/// How far a consumer has come with one secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// `None` before the first one, and once it was taken away.
    version: Option<Arc<str>>,
    acknowledged: Option<String>,
    credential_end: Option<Timestamp>,
}

pub(super) struct SecretStream<D: Dialect> {
    shared: Arc<Shared>,
    caller: Caller,
    requests: Messages<D::Request>,
    dialect: D,
    follower: Follower,
    /// Everything that the consumer asked for is to be looked at.
    is_stale: bool,
    /// The consumer asked for other names since it was told what to follow.
    asks_otherwise: bool,
    /// Names that were asked for since.
    fresh: BTreeSet<String>,
    given: Given,
    charge: Charge,
    permit: StreamPermit,
    local: LocalCaller,
    _open: OpenStream,
}

/// What a stream costs its user.
pub(super) struct StreamCost {
    pub(super) permit: StreamPermit,
    /// For the names that it asks for.
    pub(super) charge: Charge,
    /// Whose connection it is on.
    pub(super) local: LocalCaller,
}

impl<D: Dialect> SecretStream<D> {
    pub(super) fn new(
        shared: Arc<Shared>,
        caller: Caller,
        cost: StreamCost,
        requests: Messages<D::Request>,
        dialect: D,
    ) -> Self {
        Self {
            caller,
            requests,
            dialect,
            follower: shared.api.holdings.follow(),
            is_stale: true,
            asks_otherwise: true,
            fresh: BTreeSet::new(),
            given: Given::new(),
            charge: cost.charge,
            permit: cost.permit,
            local: cost.local,
            _open: shared.metrics.stream_opened(),
            shared,
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
            if let Some(response) = self.answer().await? {
                return Ok(Some(response));
            }
            tokio::select! {
                request = self.requests.next() => match request? {
                    Some(request) => self.take_in(request)?,
                    None => return Ok(None),
                },
                changed = self.shared.api.changed(&self.follower) => changed?,
            }
            // However much its consumer says, others run on this thread as well.
            tokio::task::consume_budget().await;
        }
    }

    fn take_in(&mut self, request: D::Request) -> Result<(), Status> {
        let snapshot = self.shared.api.holdings.load();
        let view = CallerView::new(&self.shared, &snapshot, &self.caller, &self.given);
        let outcomes = match self.dialect.handle(request, &view) {
            Ok(outcomes) => outcomes,
            // Envoy asks one type a stream; what else is asked for hears nothing.
            Err(SessionError::UnknownType) => return Ok(()),
            Err(error) => return Err(refuse(&error)),
        };
        self.charge.resize(self.dialect.bytes())?;
        for outcome in outcomes {
            match outcome {
                Outcome::Subscribed { name, .. } => {
                    self.asks_otherwise = true;
                    match &*name {
                        WILDCARD => self.is_stale = true,
                        _ => drop(self.fresh.insert(name)),
                    }
                }
                Outcome::Unsubscribed { name, .. } => {
                    self.asks_otherwise = true;
                    self.fresh.remove(&name);
                    self.given.remove(&name);
                }
                Outcome::Refused { names, nack, .. } => self.refused(&names, &nack),
                Outcome::Acknowledged { name, version, .. } => {
                    if let Some(given) = self.given.get_mut(&name) {
                        given.acknowledged(version);
                    }
                }
            }
        }
        Ok(())
    }

    fn refused(&self, names: &[String], nack: &Nack) {
        self.shared.metrics.refused(nack.reason);
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
    /// attested again before anything new reaches it. An acknowledgement costs no look at a name, a
    /// change one at each that the caller may have.
    async fn answer(&mut self) -> Result<Option<D::Response>, Status> {
        // First: what is published from here on is another change.
        let is_changed = self.follower.take_due() | std::mem::take(&mut self.is_stale);
        let snapshot = self.shared.api.holdings.load();
        let mut names = std::mem::take(&mut self.fresh);
        let mut follows_otherwise = is_changed | std::mem::take(&mut self.asks_otherwise);
        if is_changed {
            names.extend(self.changed_names(&snapshot));
        }
        let has_changes = !names.is_empty() || self.dialect.is_touched();
        if has_changes || self.caller.is_outdated(&snapshot) {
            // Boxed: what it needs takes no room in a stream that sleeps.
            let is_another = Box::pin(self.caller.attest_again(&snapshot)).await;
            if self.caller.is_in_doubt() {
                return Err(in_doubt());
            }
            follows_otherwise = true;
            if is_another {
                names.extend(self.changed_names(&snapshot));
                self.admit()?;
            }
        }
        self.record(&snapshot, &names)?;
        if is_changed {
            self.note_credential_ends(&snapshot);
        }
        if follows_otherwise {
            let interest = self.interest(&snapshot);
            self.follower.follow(interest, snapshot.generation);
        }
        let view = CallerView::new(&self.shared, &snapshot, &self.caller, &self.given);
        Ok(self.dialect.poll(&view))
    }

    /// What changes anything for this consumer. One without an identity may have one once a right
    /// changed. A bundle counts until the last certificate beside it ends.
    fn interest(&self, snapshot: &Snapshot) -> Interest {
        if self.dialect.wants_all() || !self.caller.is_judged() {
            return Interest::Everything;
        }
        let default = || self.caller.default_identity(snapshot);
        let mut followed = Followed {
            rights: !self.caller.has_identity(),
            ..Followed::default()
        };
        let mut names = Vec::new();
        for name in self.dialect.named() {
            match self.shared.kind_of(name) {
                NameKind::Default => {
                    followed.rights = true;
                    names.extend(default().map(|id| Arc::from(id.as_str())));
                }
                NameKind::Bundle => {
                    followed.rights = true;
                    followed.bundle = true;
                    followed.entitlements = self.caller.admitted_ids();
                }
                NameKind::Identity => names.push(Arc::clone(name)),
            }
            if names.len() > MAX_FOLLOWED_NAMES {
                return Interest::Everything;
            }
        }
        followed.names = names.into();
        Interest::Only(followed)
    }

    /// A caller that has an identity now is one like any other, and its connection with it.
    fn admit(&mut self) -> Result<(), Status> {
        let holder = self.caller.holder();
        self.local.place.change(holder);
        if self.caller.has_identity() && self.permit.admit_as(holder)? {
            self.dialect.limit(LIMITS);
        }
        if self.local.place.standing() == Standing::Recognised {
            let account = self.shared.api.account_of(&self.local);
            self.charge.move_to(&account)?;
            self.requests.move_to(&account)?;
        }
        Ok(())
    }

    /// The names that the consumer asked for and whose secret is another than it was given. What it
    /// may have and this node does not hold yet is asked for.
    fn changed_names(&self, snapshot: &Snapshot) -> Vec<String> {
        let view = CallerView::new(&self.shared, snapshot, &self.caller, &self.given);
        let wanted = view.known().filter(|name| self.dialect.wants(name));
        let is_changed = |name: &&str| {
            self.shared.api.demand(view.missing(name).into_iter());
            let given = self.given.get(*name);
            match (view.version(name), given) {
                (Some(version), given) => {
                    given.is_none_or(|given| given.progress.version.as_ref() != Some(&version))
                }
                (None, Some(given)) => !given.is_taken() && view.was_removed(name),
                (None, None) => false,
            }
        };
        wanted.filter(is_changed).map(str::to_owned).collect()
    }

    /// Brings the record of consumers up to what these names come to now, and has them looked at.
    fn record(&mut self, snapshot: &Snapshot, names: &BTreeSet<String>) -> Result<(), Status> {
        let view = CallerView::new(&self.shared, snapshot, &self.caller, &self.given);
        let missing = names.iter().filter_map(|name| view.missing(name));
        self.shared.api.demand(missing);
        let found: Vec<Finding> = names.iter().map(|name| view.find(name)).collect();
        for finding in found {
            self.dialect.touch(&finding.name);
            if finding.version.is_some() && !self.given.contains_key(&finding.name) {
                let new = connect(&self.shared.api, &self.caller, &finding)?;
                self.given.insert(finding.name.clone(), new);
            }
            let acknowledged = self.dialect.acknowledged(&finding.name);
            if let Some(given) = self.given.get_mut(&finding.name) {
                given.advance(Progress {
                    version: finding.version,
                    acknowledged: acknowledged.map(str::to_owned),
                    credential_end: finding.credential_end,
                });
            }
        }
        Ok(())
    }

    /// Whoever validates with a bundle counts until the last of its certificates ends.
    fn note_credential_ends(&mut self, snapshot: &Snapshot) {
        let view = CallerView::new(&self.shared, snapshot, &self.caller, &self.given);
        let ends = self.given.keys().map(|name| view.credential_end(name));
        let ends: Vec<Option<Timestamp>> = ends.collect();
        for (given, credential_end) in self.given.values_mut().zip(ends) {
            given.advance(Progress {
                credential_end,
                ..given.progress.clone()
            });
        }
    }
}

/// Enters a caller into the record as a consumer of one name.
pub(super) fn connect(
    api: &LocalApi,
    caller: &Caller,
    finding: &Finding,
) -> Result<GivenSecret, Status> {
    let name = &finding.name;
    let id = format!("envoy:{}:{name}", caller.process_name());
    let resource = finding.is_bundle.then_some(name.as_str());
    Ok(GivenSecret {
        connection: api.connect(caller, &id, ConsumerKind::Envoy, resource)?,
        is_bundle: finding.is_bundle,
        progress: Progress {
            credential_end: finding.credential_end,
            ..Progress::default()
        },
    })
}

impl GivenSecret {
    pub(super) fn is_bundle(&self) -> bool {
        self.is_bundle
    }

    /// Whether it was taken away again.
    fn is_taken(&self) -> bool {
        self.progress.version.is_none()
    }

    fn acknowledged(&mut self, version: String) {
        let progress = Progress {
            acknowledged: Some(version),
            ..self.progress.clone()
        };
        self.advance(progress);
    }

    /// The answer of a unary fetch is all that such a consumer will ever say.
    pub(super) fn delivered(mut self, version: &Arc<str>) {
        let progress = Progress {
            version: Some(version.clone()),
            acknowledged: Some(version.to_string()),
            ..self.progress.clone()
        };
        self.advance(progress);
    }

    fn advance(&mut self, progress: Progress) {
        if self.progress == progress {
            return;
        }
        let acknowledged = progress.acknowledged.clone();
        self.connection.note(|consumer| {
            if self.is_bundle {
                consumer.bundle_version = acknowledged.or(consumer.bundle_version.take());
            } else if let Some(serial) = acknowledged.and_then(|version| version.parse().ok()) {
                consumer.serials = vec![serial];
            }
            consumer.credential_not_after =
                consumer.credential_not_after.max(progress.credential_end);
        });
        self.progress = progress;
    }
}
