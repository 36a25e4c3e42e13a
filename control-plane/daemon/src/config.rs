//! The configuration file, one section a file.
//!
//! Reading touches nothing but the file: no port is bound, no directory made. All mistakes come in
//! one report. Paths are relative to the folder of the file.

mod admin;
mod admission;
mod api;
mod ca;
mod check;
mod issuance_log;
mod keys;
mod log;
mod policy;
mod store;
mod svid;
mod telemetry;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_authority::{Policy, ProfileTimes, Settings};
use countersign_cli::{ConfigError, Failure, Key, Reader, Setting};
use countersign_model::TrustDomain;
use countersign_model::entropy::Entropy;
use serde::Serialize;

pub use admin::Admin;
pub use admission::Admission;
pub use api::Api;
pub use ca::{Ca, LIFETIMES_PER_ISSUING_CA, Root};
pub use check::check;
pub use issuance_log::IssuanceLog;
pub use keys::{CaKeys, TierStores};
pub use log::{Log, LogFormat};
pub use store::Store;
pub use svid::Svid;
pub use telemetry::Telemetry;

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "/etc/countersign/control-plane.toml";

const TRUST_DOMAIN: Key = Key::new(
    "trust_domain",
    "Whose identities are issued. It is fixed at the first start.",
)
.of("trust domain name");
const DATA_DIR: Key = Key::new(
    "data_dir",
    "State, issuance log and CA keys. Only root and the user of the daemon may write there.",
);

/// Everything the control plane can be told. Serialises to what `config check --json` shows.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// `trust_domain`: whose identities are issued; fixed at first start.
    pub trust_domain: TrustDomain,
    /// `data_dir`: state and keys.
    pub data_dir: PathBuf,
    /// `[store]` and `[replica]`.
    pub store: Store,
    /// `[api]`.
    pub api: Api,
    /// `[admin]`.
    pub admin: Admin,
    /// `[telemetry]`.
    pub telemetry: Telemetry,
    /// `[log]`.
    pub log: Log,
    /// `[svid]`.
    pub svid: Svid,
    /// `[ca]`.
    pub ca: Ca,
    /// `[admission]`.
    pub admission: Admission,
    /// `[issuance_log]`.
    pub issuance_log: IssuanceLog,
    /// `[policy]` and `[[policy.rule]]`.
    pub policy: Policy,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::read_with_settings(file).map(|(config, _)| config)
    }

    /// Reads a configuration file, and tells each key with its value and where that came from.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn read_with_settings(file: &Path) -> Result<(Self, Vec<Setting>), ConfigError> {
        let mut reader = Reader::open(file)?;
        let config = Self::sections(&mut reader);
        let settings = reader.finish()?;
        let config = config.expect("a required key that is missing is a mistake");
        Ok((config, settings))
    }

    /// Takes an invitation from its file: this control plane joins those of its database with it.
    ///
    /// # Errors
    /// There is no database to join, or the file holds no invitation.
    pub fn join(&mut self, file: &Path) -> Result<(), Failure> {
        self.store.join(file)
    }

    /// Every key that there is, for the reference.
    pub fn keys() -> Vec<Setting> {
        Reader::survey(|reader| drop(Self::sections(reader)))
    }

    fn sections(reader: &mut Reader) -> Option<Self> {
        let trust_domain = reader.required(
            &TRUST_DOMAIN,
            "write a name such as \"example.org\"",
            |text| TrustDomain::new(text).map_err(|error| error.to_string()),
        );
        let data_dir = reader.path(&DATA_DIR, Some("cp"));
        let store = Store::read(reader);
        let api = Api::read(reader, &store);
        let beside = data_dir.clone().unwrap_or_else(|| reader.beside("cp"));
        let admin = Admin::read(reader, &beside);
        let telemetry = Telemetry::read(reader);
        let log = Log::read(reader);
        let svid = Svid::read(reader);
        let ca = Ca::read(reader, &svid);
        let admission = Admission::read(reader);
        let issuance_log = IssuanceLog::read(reader);
        let policy = policy::read(reader);
        Some(Self {
            trust_domain: trust_domain?,
            data_dir: data_dir?,
            store,
            api: api?,
            admin: admin?,
            telemetry: telemetry?,
            log,
            svid,
            ca,
            admission,
            issuance_log,
            policy,
        })
    }

    /// The part that the authority is built from, with a source of random bytes.
    pub fn authority(&self, entropy: Arc<dyn Entropy>) -> Settings {
        Settings {
            entropy,
            trust_domain: self.trust_domain.clone(),
            data_dir: self.data_dir.clone(),
            store: self.store.settings(),
            advertise: self.api.advertise.clone(),
            x509_ttl: self.svid.x509_ttl,
            renew: self.svid.renew_at,
            root_ttl: self.ca.root_ttl,
            issuing_ttl: self.ca.issuing_ttl,
            hierarchy: self.ca.hierarchy(),
            retention: self.issuance_log.retention(),
            policy: self.policy.clone(),
            times: ProfileTimes {
                svid_min_ttl: self.svid.min_ttl,
                svid_max_ttl: self.svid.max_ttl,
                svid_backdate: self.svid.backdate,
                ca_backdate: self.ca.backdate,
            },
            blocked_keys: self.svid.blocked_keys.clone(),
        }
    }
}

/// Durations as integer seconds, for JSON.
pub(crate) fn whole_secs<S: serde::Serializer>(
    duration: &std::time::Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

#[cfg(test)]
mod tests;
