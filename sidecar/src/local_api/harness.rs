//! A node for tests: both services on a temporary socket over holdings that the test fills.

mod strangers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_discovery::Stamp;
use countersign_model::{
    Entitlement, EntitlementId, EntitlementKind, Lifetime, RegistrationKey, RenewalWindow,
    Selector, SelectorSet, Serial, SpiffeId, TrustDomain,
};
use countersign_serve::unix::{SocketModes, bind_unix};
use countersign_serve::{Counters, Limits};
use countersign_verify::TrustBundle;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

pub(crate) use strangers::{Crowd, crowd, program, strangers};

use super::LocalApi;
use crate::clock::Clock;
use crate::consumers::Consumers;
use crate::holdings::{Held, Holdings, Svid};
use crate::local_socket::LocalSocket;

/// How long a test waits for what must come.
pub(crate) const BOUND: Duration = Duration::from_secs(20);
const MODES: SocketModes = SocketModes {
    socket: 0o666,
    directory: 0o755,
};

/// The time in every test.
pub(crate) fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// Whatever a test waits for, with a bound.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("in time")
}

/// Waits until a condition holds, with a bound.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(wait).await;
}

pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What a caller of this test process satisfies.
pub(crate) fn ours() -> SelectorSet {
    SelectorSet::new([Selector::UnixUid(own_uid())]).unwrap()
}

/// What everybody of this gid satisfies.
pub(crate) fn of_group(gid: u32) -> SelectorSet {
    SelectorSet::new([Selector::UnixGid(gid)]).unwrap()
}

/// What this program satisfies, whoever runs it.
pub(crate) fn by_program() -> SelectorSet {
    let own = std::env::current_exe().unwrap();
    SelectorSet::new([Selector::UnixPath(own.to_str().unwrap().to_owned())]).unwrap()
}

/// What no caller of this test process satisfies.
pub(crate) fn theirs() -> SelectorSet {
    SelectorSet::new([Selector::UnixUid(own_uid() + 1)]).unwrap()
}

/// An entitlement, the older the smaller `age` is.
pub(crate) fn entitlement(path: &str, selectors: SelectorSet, age: i64) -> Entitlement {
    let spiffe_id = SpiffeId::new(&format!("spiffe://example.org{path}")).unwrap();
    let node = SpiffeId::new("spiffe://example.org/node/a").unwrap();
    let key = RegistrationKey::on_node(spiffe_id.clone(), node, selectors.clone());
    Entitlement {
        id: key.entitlement_id(),
        spiffe_id,
        kind: EntitlementKind::Workload(selectors),
        lifetime: Duration::from_secs(3600),
        renew: RenewalWindow::new(0.45).unwrap(),
        min_key_epoch: 0,
        hint: None,
        is_default: false,
        created_at: Timestamp::from_second(age).unwrap(),
        created_seq: 0,
        backdate: Duration::from_secs(60),
    }
}

pub(crate) struct Node {
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) consumers: Arc<Consumers>,
    pub(crate) api: Arc<LocalApi>,
    pub(crate) local: LocalSocket,
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    next_index: AtomicU64,
    pub(crate) counters: Arc<Counters>,
    server: JoinHandle<()>,
}

impl Node {
    /// A node that knows its bundle and holds no identity.
    pub(crate) async fn start() -> Self {
        let limits = Limits::default();
        Self::start_within(limits).await
    }

    /// The same with other bounds of its socket.
    pub(crate) async fn start_within(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (holdings, consumers) = (Holdings::new(), Arc::new(Consumers::default()));
        let api = LocalApi::new(
            holdings.clone(),
            consumers.clone(),
            &TrustDomain::new("example.org").unwrap(),
            Clock::new(now),
        );
        let local = LocalSocket::new(Arc::clone(&api));
        let counters = Arc::<Counters>::default();
        let server = serve(&local, &folder.path().join("sock"), limits, &counters);
        let node = Self {
            holdings,
            consumers,
            api,
            local,
            folder,
            issuer: root("root"),
            next_index: AtomicU64::new(1),
            counters,
            server,
        };
        node.holdings.publish(|snapshot| {
            snapshot.stamp = Some(Stamp {
                epoch: 1,
                sequence: 1,
            });
            snapshot.bundle = Some(bundle(&[&node.issuer]));
        });
        node
    }

    /// Waits until its server has ended.
    pub(crate) async fn ended(&mut self) {
        within(&mut self.server).await.unwrap();
    }

    /// As after a restart while the control plane is away: nothing is known of anybody's rights.
    pub(crate) fn forget_everything(&self) {
        self.holdings.publish(|snapshot| {
            snapshot.stamp = None;
            snapshot.entries = Arc::default();
        });
    }

    /// The control plane has answered.
    pub(crate) fn learn(&self) {
        self.holdings
            .publish(|snapshot| snapshot.stamp.get_or_insert_default().sequence += 1);
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// Adds a right without a credential.
    pub(crate) fn entitle(&self, entitlement: Entitlement) -> EntitlementId {
        let id = entitlement.id.clone();
        let held = Held {
            entitlement: Arc::new(entitlement),
            svid: None,
            problem: None,
        };
        self.holdings.publish(|snapshot| {
            Arc::make_mut(&mut snapshot.entries).insert(id.clone(), held);
        });
        id
    }

    /// Installs a fresh credential.
    pub(crate) fn renew(&self, id: &EntitlementId) -> Serial {
        self.renew_until(id, "2027-01-01T00:00:00Z".parse().unwrap())
    }

    pub(crate) fn renew_until(&self, id: &EntitlementId, not_after: Timestamp) -> Serial {
        let index = self.next_index.fetch_add(1, Ordering::Relaxed);
        let serial = Serial::new(0x01_0000, index, [7; 8]).unwrap();
        let spiffe_id = self.holdings.load().entries[id]
            .entitlement
            .spiffe_id
            .clone();
        let svid = Arc::new(self.issue(spiffe_id, serial, not_after));
        self.holdings.publish(|snapshot| {
            let entries = Arc::make_mut(&mut snapshot.entries);
            entries.get_mut(id).unwrap().svid = Some(svid);
        });
        serial
    }

    /// A right with its credential.
    pub(crate) fn hold(&self, entitlement: Entitlement) -> (EntitlementId, Serial) {
        let id = self.entitle(entitlement);
        let serial = self.renew(&id);
        (id, serial)
    }

    /// Installs a fresh credential for each, all at once.
    pub(crate) fn renew_all(&self, ids: &[EntitlementId]) {
        let entries = self.holdings.load().entries.clone();
        let not_after = "2027-01-01T00:00:00Z".parse().unwrap();
        let issued = ids.iter().map(|id| {
            let index = self.next_index.fetch_add(1, Ordering::Relaxed);
            let serial = Serial::new(0x01_0000, index, [7; 8]).unwrap();
            let spiffe_id = entries[id].entitlement.spiffe_id.clone();
            Arc::new(self.issue(spiffe_id, serial, not_after))
        });
        let issued: Vec<Arc<Svid>> = issued.collect();
        self.holdings.publish(|snapshot| {
            let entries = Arc::make_mut(&mut snapshot.entries);
            for (id, svid) in ids.iter().zip(issued) {
                entries.get_mut(id).unwrap().svid = Some(svid);
            }
        });
    }

    /// As many identities as asked for, each with sixteen of the longest DNS names. They share one
    /// certificate and its key: nobody looks at it here.
    pub(crate) fn hold_large(&self, count: i64) {
        let spiffe_id = SpiffeId::new("spiffe://example.org/large").unwrap();
        let serial = Serial::new(0x01_0000, u64::MAX >> 24, [9; 8]).unwrap();
        let label = "a".repeat(63);
        let names = (0..16).map(|n| format!("{label}.{label}.{label}.{}{n:02}", "b".repeat(59)));
        let names = names.map(|name| SanType::DnsName(name.as_str().try_into().unwrap()));
        let not_after = "2027-01-01T00:00:00Z".parse().unwrap();
        let svid = self.issue_for(spiffe_id, names.collect(), serial, not_after);
        let svid = Arc::new(svid);
        self.holdings.publish(|snapshot| {
            let entries = Arc::make_mut(&mut snapshot.entries);
            for n in 0..count {
                let entitlement = Arc::new(entitlement(&format!("/large/{n}"), ours(), n));
                let held = Held {
                    entitlement: entitlement.clone(),
                    svid: Some(svid.clone()),
                    problem: None,
                };
                entries.insert(entitlement.id.clone(), held);
            }
        });
    }

    pub(crate) fn remove(&self, id: &EntitlementId) {
        self.holdings.publish(|snapshot| {
            Arc::make_mut(&mut snapshot.entries).remove(id);
        });
    }

    /// Adds a second root, and gives the new version.
    pub(crate) fn add_root(&self) -> String {
        let bundle = bundle(&[&self.issuer, &root("second")]);
        let version = bundle.version().to_owned();
        self.holdings
            .publish(|snapshot| snapshot.bundle = Some(bundle));
        version
    }

    pub(crate) fn bundle_version(&self) -> String {
        let snapshot = self.holdings.load();
        snapshot.bundle.as_ref().unwrap().version().to_owned()
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(self.socket()).await
    }

    fn issue(&self, id: SpiffeId, serial: Serial, not_after: Timestamp) -> Svid {
        self.issue_for(id, Vec::new(), serial, not_after)
    }

    fn issue_for(
        &self,
        id: SpiffeId,
        more: Vec<SanType>,
        serial: Serial,
        not_after: Timestamp,
    ) -> Svid {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
        params.subject_alt_names.extend(more);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Svid {
            id,
            chain: vec![leaf.der().clone()],
            key: key.serialize_der().into(),
            serial,
            lifetime: Lifetime {
                issued_at: "2026-01-01T00:00:00Z".parse().unwrap(),
                not_after,
            },
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) async fn channel(socket: PathBuf) -> Channel {
    let connector = service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    within(endpoint.connect_with_connector(connector))
        .await
        .unwrap()
}

/// A client over a connection that somebody made.
pub(crate) async fn channel_over(stream: UnixStream) -> Channel {
    let mut stream = Some(stream);
    let connector = service_fn(move |_| {
        let stream = stream.take().ok_or(std::io::ErrorKind::NotConnected);
        async move { Ok::<_, std::io::Error>(TokioIo::new(stream?)) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    within(endpoint.connect_with_connector(connector))
        .await
        .unwrap()
}

fn serve(
    local: &LocalSocket,
    socket: &Path,
    limits: Limits,
    counters: &Arc<Counters>,
) -> JoinHandle<()> {
    let socket = bind_unix(socket, MODES, "workload_api.socket").unwrap();
    let serving = local.clone().serve(socket, (limits, Arc::clone(counters)));
    tokio::spawn(serving)
}

fn bundle(roots: &[&CertifiedIssuer<'static, KeyPair>]) -> Arc<TrustBundle> {
    let roots = roots.iter().map(|root| root.der().clone()).collect();
    let trust_domain = TrustDomain::new("example.org").unwrap();
    Arc::new(TrustBundle::new(trust_domain, roots).unwrap())
}

fn root(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI("spiffe://example.org".try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}
