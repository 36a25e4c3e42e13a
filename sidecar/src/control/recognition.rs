//! The bundle by which the control plane is recognised.
//!
//! The newest bundle that it sent is asked first. Where nobody proves to be it under that one, as
//! after the root was replaced while this sidecar was off, the configured file is asked: it is the
//! operator's word, read anew at each attempt. It judges the control plane's certificate alone,
//! for one connection: workloads are judged by what comes over that. A root that the control plane
//! itself took out of the bundle stays out: a file that was never mended must not bring back a
//! root whose key is stolen.
//!
//! Anybody on the way can bring it about that the file is asked, by answering as somebody else. So
//! it stands in only where nobody but root and our own user can write or exchange it: else who can
//! do both would be the control plane.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_serve::ownership::{NotOurs, open_ours};
use countersign_verify::bundle::MAX_PEM_BYTES;
use countersign_verify::tls::{IdentityCell, PeerRule, TrustCell, client_config};
use countersign_verify::{BundleSet, TrustBundle};
use rustls::ClientConfig;
use tokio::time::Instant;

use super::addresses::{Reached, Unreached};
use super::dial::{ALPN, Link};
use super::link_state::UnreachedAddress;
use super::{Control, ControlError, ReachedAddress};
use crate::clock::Clock;
use crate::install::UselessBundle;

/// Why the configured bundle does not help where the stored one does not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NoHelp {
    /// None is configured.
    #[error("set control_plane.bundle to the bundle that `countersign bundle show` prints there")]
    NotConfigured,
    /// Somebody else can write or exchange it.
    #[error("{error}: {}", .error.remedy("control_plane.bundle"))]
    NotOurs {
        /// Who, and where.
        error: NotOurs,
    },
    /// It cannot be read.
    #[error(transparent)]
    Unusable(Box<ControlError>),
    /// It says nothing new.
    #[error("{}: {why}", .path.display())]
    Useless {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: UselessBundle,
    },
    /// Nobody is the control plane under it either.
    #[error("nor under that of {}", .0.display())]
    NorUnder(PathBuf),
}

/// No bundle yet, by this clock.
pub(crate) fn trust_by(clock: &Clock) -> Arc<TrustCell> {
    let clock = clock.clone();
    TrustCell::with_clock(BundleSet::default(), move || clock.now())
}

impl Control {
    /// Connects to the control plane, presenting `identity` where there is one.
    pub(super) async fn dial(
        &mut self,
        identity: Option<Arc<IdentityCell>>,
    ) -> Result<Link, ControlError> {
        // What fails from here on is no fault of the address before.
        self.reached = None;
        let is_stored = !self.installer.needs_bootstrap();
        if !is_stored {
            let path = self.bundle_file.as_ref().ok_or(ControlError::NoBundle)?;
            let bundle = self.read_bundle(path, File::open(path))?;
            self.installer.bootstrap(bundle);
        }
        let patience = self.addresses.patience(Instant::now());
        let keepalive = match identity {
            Some(_) => patience.keepalive,
            // For an attestation, which is one call.
            None => patience.keepalive_of_call,
        };
        let tls = self.tls(identity.clone(), Arc::clone(&self.trust));
        let unproven = match self.addresses.dial(&tls, keepalive).await {
            Ok(reached) => return Ok(self.reached(reached, false)),
            Err(unreached) if is_stored && unreached.is_unproven() => unreached,
            Err(unreached) => return Err(unreached.into()),
        };
        let (path, bundle) = match self.configured_bundle() {
            Ok(configured) => configured,
            Err(no_help) => return Err(ControlError::Unproven(unproven, no_help)),
        };
        let trust = trust_by(&self.clock);
        trust.install([Arc::new(bundle)].into_iter().collect());
        let tls = self.tls(identity, trust);
        match self.addresses.dial(&tls, keepalive).await {
            Ok(reached) => Ok(self.reached(reached, true)),
            Err(unreached) if unreached.is_refused() => Err(unreached.into()),
            Err(unreached) => {
                let no_help = NoHelp::NorUnder(path);
                Err(ControlError::Unproven(unreached, no_help))
            }
        }
    }

    fn reached(&mut self, reached: Reached, by_configured: bool) -> Link {
        if by_configured && !self.by_configured {
            tracing::warn!(
                address = reached.address,
                "the stored bundle does not verify the control plane, control_plane.bundle does"
            );
        }
        self.by_configured = by_configured;
        self.reached = Some(ReachedAddress {
            uri: reached.uri,
            address: reached.address,
            unreached: told(&Unreached(reached.failures)),
        });
        reached.link
    }

    fn configured_bundle(&self) -> Result<(PathBuf, TrustBundle), NoHelp> {
        let path = self.bundle_file.clone().ok_or(NoHelp::NotConfigured)?;
        let opened = match open_ours(&path) {
            Ok(file) => Ok(file),
            Err(NotOurs::Unreadable { source, .. }) => Err(source),
            Err(error) => return Err(NoHelp::NotOurs { error }),
        };
        let bundle = self.read_bundle(&path, opened);
        let bundle = bundle.map_err(|error| NoHelp::Unusable(Box::new(error)))?;
        match self.installer.fallback_roots(&bundle) {
            Ok(bundle) => Ok((path, bundle)),
            Err(why) => Err(NoHelp::Useless { path, why }),
        }
    }

    fn read_bundle(
        &self,
        path: &Path,
        opened: io::Result<File>,
    ) -> Result<TrustBundle, ControlError> {
        let path = || path.to_owned();
        let pem = opened.and_then(read_bounded);
        let pem = pem.map_err(|source| ControlError::BundleFile {
            path: path(),
            source,
        })?;
        TrustBundle::from_pem(self.trust_domain.clone(), &pem).map_err(|source| {
            let path = path();
            ControlError::Bundle { path, source }
        })
    }

    pub(super) fn tls(
        &self,
        identity: Option<Arc<IdentityCell>>,
        trust: Arc<TrustCell>,
    ) -> Arc<ClientConfig> {
        let control_plane = [self.trust_domain.control_plane()].into_iter().collect();
        client_config(identity, trust, PeerRule::OneOf(control_plane), &[ALPN])
    }
}

fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    file.take(MAX_PEM_BYTES as u64 + 1).read_to_end(&mut pem)?;
    if pem.len() > MAX_PEM_BYTES {
        let problem = format!("it has more than {MAX_PEM_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(pem)
}

/// Each address that was not reached, and why, for `status`.
pub(super) fn told(unreached: &Unreached) -> Vec<UnreachedAddress> {
    let failures = unreached.0.iter();
    failures
        .map(|failure| UnreachedAddress {
            address: failure.address.clone(),
            problem: failure.error.to_string(),
        })
        .collect()
}
