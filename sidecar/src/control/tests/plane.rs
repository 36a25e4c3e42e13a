//! A control plane for tests: attests by one token, certifies any key that is proven, streams.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use countersign_discovery::{DeltaSession, Limits, Resource, Stamp, Standing, View};
use countersign_envoy::{SECRET_TYPE, certificate_chain, trusted_ca};
use countersign_model::{Entitlement, EntitlementId, Serial, SpiffeId};
use countersign_proto::codec::Codec;
use countersign_proto::convert::enrol::answer;
use countersign_proto::convert::entitlement::resource;
use countersign_proto::convert::time::timestamp;
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_proto::mesh::control_message::Message as FromControl;
use countersign_proto::mesh::mesh_server::{Mesh, MeshServer};
use countersign_proto::mesh::node_attestation_server::{NodeAttestation, NodeAttestationServer};
use countersign_proto::mesh::node_message::Message as FromNode;
use countersign_proto::mesh::{
    AttestNodeRequest, AttestNodeResponse, ConsumerReport, ControlMessage, EnrolRequest,
    EnrolResponse, Enrolled, Enrolment, Hello, KeyProof, NodeMessage, ServedReport,
};
use countersign_proto::{ENTITLEMENT_TYPE, KEY_PROOF_EXPORTER, RETRY_PUSHBACK};
use countersign_serve::limits::MAX_MESSAGE_BYTES;
use countersign_serve::messages::{MessageBounds, Messages, Shares};
use countersign_serve::tls::{TlsPeer, TlsService, incoming};
use countersign_verify::tls::{
    ClientAuth, IdentityCell, PeerRule, TrustCell, certified_key, server_config,
};
use countersign_verify::{BundleSet, proof};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Codec as _;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::clock;
use crate::control::enrol::hello;
use crate::pki::{Authority, id, node_right, serial, trust_domain};

pub(super) const TOKEN: &str = "one-time-token";
pub(super) const NEW_TOKEN: &str = "another-one-time-token";
pub(super) const NODE: &str = "/node/a";

/// What the plane publishes, and what it saw.
#[derive(Clone, Default)]
pub(super) struct State {
    resources: BTreeMap<(String, String), Standing>,
    stamp: Stamp,
    /// Bumped to end every open stream.
    streams_end: u64,
    /// Also those that are opened later.
    ends_every_stream: bool,
    /// What each stream is told beside resources, from its beginning on.
    words: Vec<FromControl>,
    /// Streams that were opened at a server that is not the control plane.
    impostor_streams: usize,
    /// The status that ends them, if not merely the end.
    end_status: Option<Code>,
    /// Signs instead of the plane's own authority.
    signer: Option<Arc<Authority>>,
    issued: u64,
    /// The one entitlement that nothing is certified for.
    refused: Option<EntitlementId>,
    /// The keys that were denied so; they stay denied.
    pub(super) denied: Vec<Vec<u8>>,
    /// Enrolments are turned away with this trailer.
    pushback: Option<&'static str>,
    /// The answers to calls that enrol are held, and lost in the end.
    holds_answers: bool,
    /// Attestations are done, and their answers lost.
    loses_attestations: bool,
    /// The node is not recognised before it attests anew.
    is_evicted: bool,
    /// Tokens beside the usual ones.
    tokens: Vec<String>,
    /// By which key each token was used.
    pub(super) tokens_used: BTreeMap<String, Vec<u8>>,
    pub(super) resources_sent: usize,
    pub(super) streams: usize,
    /// The certificate that each stream was opened with.
    pub(super) presented: Vec<Serial>,
    pub(super) spkis: Vec<Vec<u8>>,
    pub(super) nacks: usize,
    /// When each call that enrols came, and how many keys it had.
    pub(super) asked: Vec<std::time::Instant>,
    pub(super) calls: Vec<usize>,
    pub(super) consumers: Option<ConsumerReport>,
    /// What the newest stream began with.
    pub(super) said: Option<Hello>,
    pub(super) served: Vec<ServedReport>,
    /// How many handshakes failed, as told each time.
    pub(super) failures: Vec<u64>,
}

#[derive(Clone)]
pub(super) struct Plane {
    pub(super) authority: Arc<Authority>,
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    fault: Option<Fault>,
    /// As whom it serves, where that is not the control plane.
    poses_as: Option<SpiffeId>,
}

/// What is wrong with one of several control planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It opens no stream and attests nobody, and answers with this.
    Refuses(Code),
    /// It certifies nothing, and answers with this.
    CertifiesNothing(Code),
    /// It answers nobody who enrols: it waits for its store.
    AnswersNoEnrolment,
    /// What it certifies has expired: its clock is behind.
    IsBehind,
    /// It says Hello, and ends the stream.
    HangsUp,
    /// It does what an attestation asks for, and its answer is lost.
    LosesAttestations,
}

impl Plane {
    pub(super) async fn start() -> Self {
        Self::start_under("root").await
    }

    /// With a root of this name.
    pub(super) async fn start_under(root: &str) -> Self {
        let authority = Arc::new(Authority::new(root));
        let listener = countersign_serve::bind_tcp("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let plane = Self {
            address: listener.local_addr().unwrap(),
            authority,
            state: Arc::default(),
            changed: watch::channel(0).0,
            fault: None,
            poses_as: None,
        };
        plane.publish_bundle(&[&plane.authority]);
        plane.entitle(&node_right(NODE));
        plane.serve(listener);
        plane
    }

    /// Another control plane of the same store: what one changes the other has.
    pub(super) fn replica(&self, fault: Option<Fault>) -> SocketAddr {
        let listener = countersign_serve::bind_tcp("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let address = listener.local_addr().unwrap();
        let replica = Self {
            fault,
            ..self.clone()
        };
        replica.serve(listener);
        address
    }

    /// A server with the certificate of a workload of the trust domain, that speaks as a control plane does.
    pub(super) fn as_workload(&self) -> SocketAddr {
        let listener = countersign_serve::bind_tcp("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let address = listener.local_addr().unwrap();
        let impostor = Self {
            poses_as: Some(id("/web")),
            ..self.clone()
        };
        impostor.serve(listener);
        address
    }

    /// Tells it to each stream that is open, and that opens.
    pub(super) fn say(&self, word: FromControl) {
        self.change(|state| state.words.push(word));
    }

    pub(super) fn impostor_streams(&self) -> usize {
        self.state().impostor_streams
    }

    fn serve(&self, listener: tokio::net::TcpListener) {
        let control_plane = trust_domain().control_plane();
        let own = self.poses_as.as_ref().unwrap_or(&control_plane);
        let own = self.authority.svid(own, serial(0xffff));
        let identity = IdentityCell::empty();
        identity.install(certified_key(own.chain.clone(), &own.key).unwrap());
        let trust = TrustCell::new([self.authority.bundle()].into_iter().collect::<BundleSet>());
        let tls = server_config(
            identity,
            trust,
            PeerRule::Member(trust_domain()),
            ClientAuth::Optional,
            &[b"h2"],
        );
        let messages = MessageBounds::new(Shares {
            total: 8 * MAX_MESSAGE_BYTES,
            each: 8 * MAX_MESSAGE_BYTES,
        });
        let server = countersign_serve::grpc::Server::new(messages)
            .add_service(NodeAttestationServer::new(self.clone()))
            .add_service(MeshServer::new(self.clone()))
            .serve(incoming(listener, TlsService::new(tls, KEY_PROOF_EXPORTER)));
        tokio::spawn(server);
    }

    pub(super) fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    /// Another token that a node may join with.
    pub(super) fn admit(&self, token: &str) {
        self.change(|state| state.tokens.push(token.to_owned()));
    }

    pub(super) fn entitle(&self, entitlement: &Entitlement) {
        self.publish(
            Standing::Present(resource(entitlement)),
            ENTITLEMENT_TYPE,
            entitlement.id.as_str(),
        );
    }

    pub(super) fn remove(&self, id: &EntitlementId) {
        self.publish(Standing::Removed, ENTITLEMENT_TYPE, id.as_str());
    }

    pub(super) fn publish_bundle(&self, authorities: &[&Authority]) {
        let name = trust_domain().id().to_string();
        let roots: Vec<_> = authorities
            .iter()
            .map(|authority| authority.root())
            .collect();
        let body = trusted_ca(&name, &roots);
        let bundle = Resource::hashed(SECRET_TYPE, &name, body);
        self.publish(Standing::Present(bundle), SECRET_TYPE, &name);
    }

    pub(super) fn end_streams(&self) {
        self.change(|state| state.streams_end += 1);
    }

    /// Answers from this state from now on.
    pub(super) fn answer_from(&self, stamp: Stamp) {
        self.change(|state| state.stamp = stamp);
    }

    /// Ends every stream, for it finds a certificate that it does not know.
    pub(super) fn forget_certificates(&self) {
        self.change(|state| {
            state.end_status = Some(Code::DataLoss);
            state.ends_every_stream = true;
        });
    }

    /// As when another process opens a stream with the same credential.
    /// A node holds its own certificate before it opens a stream: one is waited for.
    pub(super) async fn take_streams_over(&self) {
        super::until(|| self.state().streams > 0).await;
        self.change(|state| {
            state.end_status = Some(Code::Aborted);
            state.streams_end += 1;
        });
    }

    /// Has every further chain signed by another authority.
    pub(super) fn sign_with(&self, authority: &Arc<Authority>) {
        self.change(|state| state.signer = Some(Arc::clone(authority)));
    }

    /// Certifies nothing for an entitlement.
    pub(super) fn refuse(&self, entitlement: &EntitlementId) {
        self.change(|state| state.refused = Some(entitlement.clone()));
    }

    /// Certifies again for every entitlement, but no key that was denied before.
    pub(super) fn refuse_known_keys_only(&self) {
        self.change(|state| state.refused = None);
    }

    /// Has every enrolment turned away for so many milliseconds, or none.
    pub(super) fn turn_away(&self, pushback: Option<&'static str>) {
        self.change(|state| state.pushback = pushback);
    }

    /// Does what calls that enrol ask for and holds their answers; they are lost once they are
    /// no longer held.
    pub(super) fn hold_answers(&self, holds: bool) {
        self.change(|state| state.holds_answers = holds);
    }

    /// Does what attestations ask for and loses the answers.
    pub(super) fn lose_attestations(&self, loses: bool) {
        self.change(|state| state.loses_attestations = loses);
    }

    /// Ends the lineage of the node.
    pub(super) fn evict(&self) {
        self.change(|state| {
            state.is_evicted = true;
            state.end_status = Some(Code::Unauthenticated);
            state.streams_end += 1;
        });
    }

    /// Recognises the node again, as it is.
    pub(super) fn readmit(&self) {
        self.change(|state| {
            state.is_evicted = false;
            state.end_status = None;
        });
    }

    fn publish(&self, standing: Standing, type_url: &str, name: &str) {
        self.change(|state| {
            state.stamp.sequence += 1;
            let key = (type_url.to_owned(), name.to_owned());
            state.resources.insert(key, standing);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.send_modify(|n| *n += 1);
    }

    /// Checks a proof against the session it came on, and certifies the key.
    fn certify(&self, peer: &TlsPeer, entitlement: &str, key: &KeyProof, id: &SpiffeId) -> u64 {
        let message = proof::message(&peer.exporter, entitlement, &key.spki);
        let scheme = u16::try_from(key.signature_scheme).unwrap();
        proof::verify(&key.spki, scheme, &key.signature, &message).unwrap();
        let mut index = 0;
        self.change(|state| {
            state.issued += 1;
            index = state.issued;
            state.spkis.push(key.spki.clone());
        });
        let signer = self.state().signer;
        let signer = signer.as_ref().unwrap_or(&self.authority);
        let until = match self.fault {
            Some(Fault::IsBehind) => 2026,
            _ => 2040,
        };
        let chain = signer.certify_until(id, serial(index), &key.spki, until);
        let body = certificate_chain(entitlement, &chain);
        let version = serial(index).to_string();
        let chain = Resource::versioned(SECRET_TYPE, entitlement, &version, body);
        self.publish(Standing::Present(chain), SECRET_TYPE, entitlement);
        index
    }
}

impl View for State {
    fn stamp(&self) -> Stamp {
        self.stamp
    }
    fn standing(&self, type_url: &str, name: &str) -> Standing {
        let key = (type_url.to_owned(), name.to_owned());
        self.resources
            .get(&key)
            .cloned()
            .unwrap_or(Standing::Absent)
    }
    fn names(&self, type_url: &str) -> Vec<Arc<str>> {
        let names = self.resources.keys().filter(|(of, _)| of == type_url);
        names.map(|(_, name)| name.as_str().into()).collect()
    }
    fn serves(&self, _: &str) -> bool {
        true
    }
}

fn peer<T>(request: &Request<T>) -> TlsPeer {
    request.extensions().get::<TlsPeer>().unwrap().clone()
}

#[tonic::async_trait]
impl NodeAttestation for Plane {
    async fn attest_node(
        &self,
        request: Request<AttestNodeRequest>,
    ) -> Result<Response<AttestNodeResponse>, Status> {
        if let Some(Fault::Refuses(code)) = self.fault {
            return Err(Status::new(code, "not here"));
        }
        let peer = peer(&request);
        let request = request.into_inner();
        let Some(Evidence::JoinToken(evidence)) = request.evidence else {
            return Err(Status::invalid_argument("no evidence"));
        };
        let key = request.key.unwrap();
        let is_known = [TOKEN, NEW_TOKEN].contains(&evidence.token.as_str())
            || self.state().tokens.contains(&evidence.token);
        let mut used_by = key.spki.clone();
        self.change(|state| {
            let used = state
                .tokens_used
                .entry(evidence.token)
                .or_insert(key.spki.clone());
            used_by.clone_from(used);
        });
        if !is_known || used_by != key.spki {
            return Err(Status::permission_denied("attestation refused"));
        }
        self.change(|state| state.is_evicted = false);
        let index = self.certify(&peer, "node", &key, &id(NODE));
        let chain = self.authority.certify(&id(NODE), serial(index), &key.spki);
        let loses = self.fault == Some(Fault::LosesAttestations);
        if loses || self.state().loses_attestations {
            return Err(Status::unavailable("the answer is lost"));
        }
        Ok(Response::new(AttestNodeResponse {
            hello: Some(hello()),
            node_id: id(NODE).to_string(),
            chain: chain.iter().map(|c| c.to_vec()).collect(),
            issued_at: Some(timestamp(clock::now())),
            bundle: vec![self.authority.root().to_vec()],
        }))
    }
}

#[tonic::async_trait]
impl Mesh for Plane {
    type DiscoverStream =
        Pin<Box<dyn futures_util::Stream<Item = Result<ControlMessage, Status>> + Send>>;

    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<EnrolResponse>, Status> {
        let peer = peer(&request);
        assert_eq!(peer.svid.as_ref().unwrap().id, id(NODE));
        let enrolments = request.into_inner().enrolments;
        self.change(|state| {
            state.asked.push(std::time::Instant::now());
            state.calls.push(enrolments.len());
        });
        let enrolments = enrolments.into_iter();
        if let Some(Fault::CertifiesNothing(code)) = self.fault {
            return Err(Status::new(code, "not here"));
        }
        if self.fault == Some(Fault::AnswersNoEnrolment) {
            return std::future::pending().await;
        }
        let answers = enrolments.map(|enrolment| answer(self.enrol_one(&peer, enrolment)));
        let answers = answers.collect();
        if self.state().holds_answers {
            let mut changed = self.changed.subscribe();
            let let_go = changed.wait_for(|_| !self.state().holds_answers);
            let_go.await.unwrap();
            return Err(Status::unavailable("the answers are lost"));
        }
        Ok(Response::new(EnrolResponse { answers }))
    }

    async fn discover(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::DiscoverStream>, Status> {
        if let Some(Fault::Refuses(code)) = self.fault {
            return Err(Status::new(code, "not here"));
        }
        if peer(&request).svid.is_none() || self.state().is_evicted {
            return Err(Status::unauthenticated("not the SVID of a node"));
        }
        let shown = peer(&request).svid.map(|svid| svid.serial.clone());
        let shown = shown.and_then(|serial| Serial::from_bytes(&serial).ok());
        self.change(|state| state.presented.extend(shown));
        let (out, stream) = mpsc::channel(64);
        let decoder = || Codec::<ControlMessage, NodeMessage>::default().decoder();
        let messages = Messages::of(request, decoder, MAX_MESSAGE_BYTES);
        tokio::spawn(self.clone().stream(messages, out));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl Plane {
    fn enrol_one(&self, peer: &TlsPeer, enrolment: Enrolment) -> Result<Enrolled, Status> {
        let Enrolment { entitlement, key } = enrolment;
        if let Some(millis) = self.state().pushback {
            let mut status = Status::resource_exhausted("too much to do");
            let metadata = status.metadata_mut();
            metadata.insert(RETRY_PUSHBACK, millis.parse().unwrap());
            return Err(status);
        }
        let key = key.unwrap();
        let State {
            refused, denied, ..
        } = self.state();
        let is_refused = refused.is_some_and(|refused| refused.as_str() == entitlement);
        if is_refused || denied.contains(&key.spki) {
            self.change(|state| state.denied.push(key.spki));
            return Err(Status::permission_denied("not this one"));
        }
        let name = (ENTITLEMENT_TYPE.to_owned(), entitlement.clone());
        let Some(Standing::Present(right)) = self.state().resources.get(&name).cloned() else {
            return Err(Status::not_found("no such entitlement"));
        };
        let right = countersign_proto::convert::entitlement::read_resource(&right).unwrap();
        let index = self.certify(peer, &entitlement, &key, &right.spiffe_id);
        let now = clock::now();
        Ok(Enrolled {
            serial: serial(index).as_bytes().to_vec(),
            issued_at: Some(timestamp(now)),
            not_after: Some(timestamp("2040-01-01T00:00:00Z".parse().unwrap())),
        })
    }

    async fn stream(
        self,
        mut messages: Messages<NodeMessage>,
        out: mpsc::Sender<Result<ControlMessage, Status>>,
    ) {
        let end = {
            let mut state = self.state.lock().unwrap();
            state.streams += 1;
            state.streams_end
        };
        let mut changed = self.changed.subscribe();
        let mut session = DeltaSession::new(Limits::default());
        let (mut is_greeted, mut said) = (false, 0);
        if self.poses_as.is_some() {
            self.change(|state| state.impostor_streams += 1);
        }
        let is_to_end = |state: State| state.streams_end != end || state.ends_every_stream;
        while !is_to_end(self.state()) {
            let message = tokio::select! {
                message = messages.next() => match message {
                    Ok(Some(message)) => message.message,
                    _ => return,
                },
                _ = changed.changed() => None,
            };
            match message {
                Some(FromNode::Hello(said)) => {
                    let Stamp { epoch, sequence } = self.state().stamp;
                    self.change(|state| state.said = Some(said));
                    let hello = Hello {
                        epoch,
                        sequence,
                        ..hello()
                    };
                    send(&out, FromControl::Hello(hello)).await;
                    is_greeted = true;
                    if self.fault == Some(Fault::HangsUp) {
                        return;
                    }
                }
                Some(FromNode::Delta(request)) => {
                    let nacked = usize::from(request.error_detail.is_some());
                    session.handle(&request.into(), &self.state()).unwrap();
                    self.change(|state| state.nacks += nacked);
                }
                Some(FromNode::Consumers(report)) => {
                    self.change(|state| state.consumers = Some(report));
                }
                Some(FromNode::Served(report)) => self.change(|state| state.served.push(report)),
                Some(FromNode::Handshakes(report)) => {
                    self.change(|state| state.failures.push(report.failed));
                }
                None => {}
            }
            let words = self.state().words;
            for word in words.into_iter().skip(said).filter(|_| is_greeted) {
                said += 1;
                send(&out, word).await;
            }
            while let Some(response) = session.poll(&self.state()) {
                let count = response.resources.len();
                send(&out, FromControl::Delta(response.into())).await;
                self.change(|state| state.resources_sent += count);
            }
        }
        if let Some(code) = self.state().end_status {
            let _ = out.send(Err(Status::new(code, "taken over"))).await;
        }
    }
}

async fn send(out: &mpsc::Sender<Result<ControlMessage, Status>>, message: FromControl) {
    let message = ControlMessage {
        message: Some(message),
    };
    let _ = out.send(Ok(message)).await;
}
