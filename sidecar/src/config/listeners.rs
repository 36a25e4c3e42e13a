//! `[[inbound]]` and `[[outbound]]`: the listeners of the proxy.

use std::net::SocketAddr;

use countersign_cli::{Key, Reader};
use countersign_model::{SpiffeId, TrustDomain};

const INBOUND: Key = Key::new(
    "inbound",
    "A listener that accepts mTLS and forwards plaintext to a program of this machine.",
);
const OUTBOUND: Key = Key::new(
    "outbound",
    "A listener that accepts plaintext of a program of this machine and connects with mTLS.",
);
const LISTEN: Key = Key::new("listen", "Where peers connect with mTLS.");
const FORWARD: Key = Key::new("forward", "Where accepted connections go in plaintext.")
    .within("loopback addresses, unless `attest_callers` is netns");
const LOCAL_LISTEN: Key = Key::new("listen", "Where the program connects in plaintext.")
    .within("loopback addresses, unless `attest_callers` is netns");
const CONNECT: Key = Key::new("connect", "The peer, which is spoken to with mTLS.");
const IDENTITY: Key = Key::new(
    "identity",
    "The SPIFFE ID that is presented, one that is registered for this node.",
)
.of("SPIFFE ID");
const ALLOW: Key = Key::new("allow", "Which peers may connect: exactly these.")
    .of("SPIFFE IDs")
    .within("at least one, of this trust domain");
const EXPECT: Key = Key::new("expect", "Who the peer may be: exactly one of these.")
    .of("SPIFFE IDs")
    .within("at least one, of this trust domain");
/// `attest_callers` of the whole file.
pub(super) const CALLERS: Key = Key::new(
    "attest_callers",
    "How a listener knows the local program that it lends its identity to: by the uid that owns the \
     other end of the connection, or not at all, because the network namespace is the workload's own.",
);
const CALLERS_OF_LISTENER: Key = Key::new(
    "attest_callers",
    "How this listener knows the local program that it lends its identity to.",
)
.by_default("that of the file");

const PEERS_REMEDY: &str = "write exact IDs of this sidecar's trust domain, at least one, such as \
     [\"spiffe://example.org/client\"]; other trust domains need federation";

/// How a loopback listener knows whom it lends its identity to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AttestCallers {
    /// `"uid"`: the uid that owns the socket at the other end must satisfy the identity's
    /// selectors.
    #[default]
    Uid,
    /// `"netns"`: not at all, because the network namespace is the workload's own.
    Netns,
}

impl AttestCallers {
    /// Reads `attest_callers` of the file or of one listener.
    pub(super) fn read(reader: &mut Reader, key: &Key, default: Self) -> Self {
        let choices = [("uid", Self::Uid), ("netns", Self::Netns)];
        let remedy =
            "write \"uid\", or \"netns\" where the network namespace is the workload's own";
        reader.choice(key, default, &choices, remedy)
    }
}

/// One `[[inbound]]`: accepts mTLS, forwards plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inbound {
    /// `listen`.
    pub(crate) listen: SocketAddr,
    /// `forward`: where accepted connections go.
    pub(crate) forward: SocketAddr,
    /// `identity` that is presented.
    pub(crate) identity: SpiffeId,
    /// `allow`: exactly these peers; never empty.
    pub(crate) allow: Vec<SpiffeId>,
    /// `attest_callers`, of this listener or of the file.
    pub(crate) attest_callers: AttestCallers,
}

impl Inbound {
    pub(super) fn read_all(
        reader: &mut Reader,
        trust_domain: Option<&TrustDomain>,
        attest_callers: AttestCallers,
        taken: &mut ListenAddresses,
    ) -> Vec<Self> {
        let mut place = 0..;
        reader.tables(&INBOUND, usize::MAX, |table| {
            let listen = table.required_address(&LISTEN);
            taken.note("inbound", place.next(), listen);
            let forward = table.required_address(&FORWARD);
            let identity = read_identity(table, trust_domain);
            let allow = read_peers(table, &ALLOW, trust_domain);
            let attest_callers = AttestCallers::read(table, &CALLERS_OF_LISTENER, attest_callers);
            demand_loopback(table, &FORWARD, forward, attest_callers);
            Some(Self {
                listen: listen?,
                forward: forward?,
                identity: identity?,
                allow,
                attest_callers,
            })
        })
    }
}

/// One `[[outbound]]`: accepts plaintext, connects with mTLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outbound {
    /// `listen`.
    pub(crate) listen: SocketAddr,
    /// `connect`: the mTLS peer.
    pub(crate) connect: SocketAddr,
    /// `identity` that is presented.
    pub(crate) identity: SpiffeId,
    /// `expect`: the peer is exactly one of these; never empty.
    pub(crate) expect: Vec<SpiffeId>,
    /// `attest_callers`, of this listener or of the file.
    pub(crate) attest_callers: AttestCallers,
}

impl Outbound {
    pub(super) fn read_all(
        reader: &mut Reader,
        trust_domain: Option<&TrustDomain>,
        attest_callers: AttestCallers,
        taken: &mut ListenAddresses,
    ) -> Vec<Self> {
        let mut place = 0..;
        reader.tables(&OUTBOUND, usize::MAX, |table| {
            let listen = table.required_address(&LOCAL_LISTEN);
            taken.note("outbound", place.next(), listen);
            let connect = table.required_address(&CONNECT);
            let identity = read_identity(table, trust_domain);
            let expect = read_peers(table, &EXPECT, trust_domain);
            let attest_callers = AttestCallers::read(table, &CALLERS_OF_LISTENER, attest_callers);
            demand_loopback(table, &LOCAL_LISTEN, listen, attest_callers);
            Some(Self {
                listen: listen?,
                connect: connect?,
                identity: identity?,
                expect,
                attest_callers,
            })
        })
    }
}

fn read_identity(table: &mut Reader, trust_domain: Option<&TrustDomain>) -> Option<SpiffeId> {
    table.required(
        &IDENTITY,
        "write the ID of a registration of this node, such as \"spiffe://example.org/web\"",
        |text| parse_workload(text, trust_domain),
    )
}

fn read_peers(table: &mut Reader, key: &Key, trust_domain: Option<&TrustDomain>) -> Vec<SpiffeId> {
    table.required_list(key, PEERS_REMEDY, usize::MAX, |text| {
        parse_workload(text, trust_domain)
    })
}

/// An exact ID of a workload. The ranges that no registration can hand out are refused, because a
/// listener with one of them would never come up and a peer with one of them never come.
fn parse_workload(text: &str, trust_domain: Option<&TrustDomain>) -> Result<SpiffeId, String> {
    let id = SpiffeId::with_path(text).map_err(|error| error.to_string())?;
    if trust_domain.is_some_and(|own| !id.is_member_of(own)) {
        return Err("is of another trust domain".to_owned());
    }
    if id.is_reserved() {
        return Err("lies under /countersign/, which is no workload's".to_owned());
    }
    Ok(id)
}

/// The owner of a socket is known to this machine's kernel alone, and only loopback is certain to
/// stay on this machine.
fn demand_loopback(
    table: &mut Reader,
    key: &Key,
    address: Option<SocketAddr>,
    attest_callers: AttestCallers,
) {
    let elsewhere = address.is_some_and(|address| !address.ip().is_loopback());
    if elsewhere && attest_callers == AttestCallers::Uid {
        table.mistake(
            key,
            "is not a loopback address, so the uid at its other end cannot be known",
            "write a loopback address, or attest_callers = \"netns\" where the network namespace \
             is the workload's own",
        );
    }
}

/// The addresses that listeners were given, faulty listeners included: two cannot share one.
#[derive(Debug, Default)]
pub(super) struct ListenAddresses(Vec<(String, SocketAddr)>);

impl ListenAddresses {
    pub(super) fn note(&mut self, section: &str, place: Option<usize>, listen: Option<SocketAddr>) {
        let place = place.map(|n| format!("[{n}]")).unwrap_or_default();
        let key = format!("{section}{place}.listen");
        self.0.extend(listen.map(|listen| (key, listen)));
    }

    /// Notes a mistake for each listener whose address an earlier one has.
    pub(super) fn refuse_shared(&self, reader: &mut Reader) {
        for (n, (key, listen)) in self.0.iter().enumerate() {
            let earlier = self.0[..n].iter().find(|(_, l)| collide(*l, *listen));
            if let Some((first, _)) = earlier {
                reader.mistake(
                    key,
                    format!("{listen} is taken by {first}"),
                    "give each listener its own port",
                );
            }
        }
    }
}

/// Port 0 is a new port for each listener.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip()
        || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && overlap
}
