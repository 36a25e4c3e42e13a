//! A small PKI whose certificates the verifier takes.

use std::sync::{Arc, LazyLock};

use countersign_model::{SpiffeId, TrustDomain};
use countersign_verify::tls::{
    ClientAuth, IdentityCell, PeerRule, TrustCell, certified_key, client_config, server_config,
};
use countersign_verify::{BundleSet, TrustBundle};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;

pub(crate) const SERVER: &str = "spiffe://example.org/server";
pub(crate) const CLIENT: &str = "spiffe://example.org/client";

/// One root and the leaves that it signs.
pub(crate) struct Pki {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new(root: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, root);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self { root, issuer }
    }

    /// The one that [`Pki::server`] trusts.
    pub(crate) fn shared() -> &'static Self {
        static PKI: LazyLock<Pki> = LazyLock::new(|| Pki::new("ours"));
        &PKI
    }

    /// A server that wants a client of its own trust domain.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let rule = PeerRule::Member(example_org());
        let auth = ClientAuth::Required;
        server_config(self.identity(SERVER), self.trust(), rule, auth, &[b"h2"])
    }

    /// A server that takes also who has no certificate.
    pub(crate) fn open_server(&self) -> Arc<ServerConfig> {
        let rule = PeerRule::Member(example_org());
        let auth = ClientAuth::Optional;
        server_config(self.identity(SERVER), self.trust(), rule, auth, &[b"h2"])
    }

    /// A client without a certificate.
    pub(crate) fn stranger() -> Arc<ClientConfig> {
        let rule = PeerRule::OneOf([SpiffeId::new(SERVER).unwrap()].into());
        client_config(None, Self::shared().trust(), rule, &[b"h2"])
    }

    /// A client with an identity of this PKI; the server it accepts is of the shared one.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client_as(CLIENT)
    }

    /// As [`client`](Self::client), with this identity.
    pub(crate) fn client_as(&self, id: &str) -> Arc<ClientConfig> {
        let rule = PeerRule::OneOf([SpiffeId::new(SERVER).unwrap()].into());
        let identity = Some(self.identity(id));
        client_config(identity, Self::shared().trust(), rule, &[b"h2"])
    }

    fn identity(&self, id: &str) -> Arc<IdentityCell> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let cell = IdentityCell::empty();
        cell.install(certified_key(vec![leaf], &key.serialize_der()).unwrap());
        cell
    }

    fn trust(&self) -> Arc<TrustCell> {
        let bundle = TrustBundle::new(example_org(), vec![self.root.clone()]).unwrap();
        TrustCell::new(BundleSet::from_iter([Arc::new(bundle)]))
    }
}

fn example_org() -> TrustDomain {
    TrustDomain::new("example.org").unwrap()
}
