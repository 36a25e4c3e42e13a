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

use countersign_cli::{ConfigError, Reader};
use countersign_model::TrustDomain;

use crate::evidence::{self, Method};
use crate::state::STATUS_SOCKET;
use listeners::ListenAddresses;
pub(crate) use listeners::{AttestCallers, Inbound, Outbound};
pub(crate) use sections::{ControlPlane, Log, Telemetry, WorkloadApi};

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
        let mut reader = Reader::open(file)?;
        let config = read(&mut reader);
        reader.finish()?;
        Ok(config.expect("a missing value is a mistake, and finish reports every mistake"))
    }
}

/// Reads every section before the first missing value ends it, so that no mistake stays hidden.
fn read(reader: &mut Reader) -> Option<Config> {
    let trust_domain = reader.required(
        "trust_domain",
        "write the bare name, such as \"example.org\"",
        |text| TrustDomain::new(text).map_err(|error| error.to_string()),
    );
    let state_dir = reader.folder_of_socket("state_dir", "sidecar-state", STATUS_SOCKET);
    let drain_timeout = reader.duration(
        "drain_timeout",
        DEFAULT_DRAIN_TIMEOUT,
        Duration::ZERO..=MAX_DRAIN_TIMEOUT,
    );
    let control_plane = ControlPlane::read(reader);
    let attestation = evidence::read(reader);
    let workload_api = WorkloadApi::read(reader);
    let log = Log::read(reader);
    let telemetry = Telemetry::read(reader);
    let attest_callers = AttestCallers::read(reader, AttestCallers::Uid);
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
