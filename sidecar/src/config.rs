//! `sidecar.toml`: what an operator says about one sidecar.
//!
//! Reading touches nothing but the file. Every mistake is in one report, with key and remedy. A
//! [`Config`] that exists has passed its own rules: identities belong to the trust domain, lists
//! are not empty, and a listener that lends its identity by the caller's uid is on loopback.

mod listeners;
mod sections;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_cli::{ConfigError, Key, Reader, Setting};
use countersign_model::TrustDomain;

use crate::evidence::{self, Method};
use crate::state::STATUS_SOCKET;
pub(crate) use listeners::{AttestCallers, Inbound, Outbound};
use listeners::{CALLERS, ListenAddresses};
pub(crate) use sections::{ControlPlane, Log, Telemetry, WorkloadApi};

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "/etc/countersign/sidecar.toml";

const TRUST_DOMAIN: Key = Key::new(
    "trust_domain",
    "The one whose identities this sidecar holds.",
)
.of("trust domain name");
const STATE_DIR: Key = Key::new(
    "state_dir",
    "The node's key and the newest bundle, so that a restart needs no token; no key of a workload. \
     Only root and the user of the daemon may write there.",
);
const DRAIN_TIMEOUT: Key = Key::new(
    "drain_timeout",
    "How long open connections may finish after the process was told to end.",
);

/// How long open connections may finish, where `drain_timeout` is not set.
pub(crate) const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest `drain_timeout`.
const MAX_DRAIN_TIMEOUT: Duration = Duration::from_secs(3_600);

/// The configuration of one sidecar.
#[derive(Clone, Debug)]
pub struct Config {
    /// `trust_domain`: the one whose identities this sidecar holds.
    pub(crate) trust_domain: TrustDomain,
    /// `state_dir`: node key and newest bundle, so that a restart needs no token.
    pub state_dir: PathBuf,
    /// `drain_timeout`: how long open connections may finish after the process was told to end.
    pub(crate) drain_timeout: Duration,
    /// `[control_plane]`.
    pub(crate) control_plane: ControlPlane,
    /// `[attestation]`: what this machine shows to prove which node it is.
    pub(crate) attestation: Arc<dyn Method>,
    /// `[workload_api]`.
    pub(crate) workload_api: WorkloadApi,
    /// `[log]`.
    pub(crate) log: Log,
    /// `[telemetry]`.
    pub(crate) telemetry: Telemetry,
    /// `[[inbound]]`: mTLS in, plaintext out.
    pub(crate) inbound: Vec<Inbound>,
    /// `[[outbound]]`: plaintext in, mTLS out.
    pub(crate) outbound: Vec<Outbound>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::load_with_settings(file).map(|(config, _)| config)
    }

    /// Reads a file, and tells each key with its value and where that came from.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn load_with_settings(file: &Path) -> Result<(Self, Vec<Setting>), ConfigError> {
        let mut reader = Reader::open(file)?;
        let config = read(&mut reader);
        let settings = reader.finish()?;
        let config =
            config.expect("a missing value is a mistake, and finish reports every mistake");
        Ok((config, settings))
    }

    /// Every key that there is, for the reference.
    pub fn keys() -> Vec<Setting> {
        Reader::survey(|reader| drop(read(reader)))
    }
}

/// Reads every section before the first missing value ends it, so that no mistake stays hidden.
fn read(reader: &mut Reader) -> Option<Config> {
    let trust_domain = reader.required(
        &TRUST_DOMAIN,
        "write the bare name, such as \"example.org\"",
        |text| TrustDomain::new(text).map_err(|error| error.to_string()),
    );
    let state_dir = reader.folder_of_socket(&STATE_DIR, "sidecar-state", STATUS_SOCKET);
    let drain_timeout = reader.duration(
        &DRAIN_TIMEOUT,
        DEFAULT_DRAIN_TIMEOUT,
        Duration::ZERO..=MAX_DRAIN_TIMEOUT,
    );
    let control_plane = ControlPlane::read(reader);
    let attestation = evidence::read(reader);
    let workload_api = WorkloadApi::read(reader);
    let log = Log::read(reader);
    let telemetry = Telemetry::read(reader);
    let attest_callers = AttestCallers::read(reader, &CALLERS, AttestCallers::Uid);
    let mut taken = ListenAddresses::default();
    taken.note("telemetry", None, telemetry.as_ref().map(|t| t.listen));
    let inbound = Inbound::read_all(reader, trust_domain.as_ref(), attest_callers, &mut taken);
    let outbound = Outbound::read_all(reader, trust_domain.as_ref(), attest_callers, &mut taken);
    taken.refuse_shared(reader);
    Some(Config {
        trust_domain: trust_domain?,
        state_dir: state_dir?,
        drain_timeout,
        control_plane: control_plane?,
        attestation: attestation?,
        workload_api: workload_api?,
        log,
        telemetry: telemetry?,
        inbound,
        outbound,
    })
}
