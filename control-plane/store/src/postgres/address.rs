//! Where the database is and how it is reached: read from a `postgresql://` URL, without I/O.
//!
//! The parameters of TLS are read here, the others by the client library. A connection over a
//! network is encrypted and its server is verified against a CA that the URL names, or it is not
//! made: a database that somebody else answers for is a control plane that somebody else owns.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Longest URL, in bytes.
const MAX_URL: usize = 4_096;
/// Most hosts of a URL.
const MAX_HOSTS: usize = 8;
/// How long one address of a host has to answer where the URL does not say.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// And besides, for everything until it takes statements: TLS, the password, what it is.
const LOG_IN_WITHIN: Duration = Duration::from_secs(2);
/// How long what was sent may stay unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// A connection on which nothing is said is looked at after this time.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
/// The port where a host names none.
const PORT: u16 = 5_432;
/// What an administrator of the database sees.
const APPLICATION: &str = "countersign";

/// A database, and how it is reached.
#[derive(Clone)]
pub struct Address {
    config: Box<Config>,
    hosts: Vec<HostAddress>,
    pub(super) tls: Option<TlsFiles>,
    /// Read at every connection.
    pub(super) password_file: Option<PathBuf>,
    shown: String,
}

/// The files of TLS. They are read at every connection: what replaces them needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// The only CAs that may vouch for the server.
    pub(super) roots: PathBuf,
    /// Certificate and key of this client, where the server asks for them.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// Why a URL names no database that is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error(
        "it is no address of a PostgreSQL database ({0}): \
         write postgresql://ROLE@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE"
    )]
    Unreadable(String),
    /// A part is missing.
    #[error(
        "it names no {0}: write postgresql://ROLE@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE"
    )]
    Missing(&'static str),
    /// It is too much.
    #[error("it is longer than {MAX_URL} bytes or names more than {MAX_HOSTS} hosts")]
    TooLong,
    /// Whoever is on the way could answer in place of the database.
    #[error(
        "sslmode={0} does not verify who answers for {1}: \
         set sslmode=verify-full and sslrootcert=FILE, or name a Unix socket"
    )]
    Unverified(String, String),
    /// There is nobody to trust.
    #[error(
        "sslmode=verify-full needs sslrootcert=FILE, the CA that signed the certificate of the database"
    )]
    NoRoots,
    /// The other half is missing.
    #[error("sslcert and sslkey belong together: name both files, or neither")]
    HalfIdentity,
    /// It is not known which of the two is meant.
    #[error("it has a password and there is a file of one: keep the file")]
    TwoPasswords,
    /// A standby takes no writes.
    #[error("target_session_attrs={0} cannot write: leave it out, or set read-write")]
    ReadOnly(&'static str),
}

/// What the URL says of TLS.
#[derive(Default)]
struct Parameters {
    mode: Option<String>,
    roots: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Address {
    /// Reads a URL. The password is in a file, or in the URL.
    ///
    /// # Errors
    /// It names no database, or one that could not be told from another.
    pub fn parse(url: &str, password_file: Option<PathBuf>) -> Result<Self, AddressError> {
        if url.len() > MAX_URL {
            return Err(AddressError::TooLong);
        }
        let (parameters, rest) = parted(url)?;
        let mut config: Config = rest.parse().map_err(|error| unreadable(&error))?;
        if password_file.is_some() && config.get_password().is_some() {
            return Err(AddressError::TwoPasswords);
        }
        check(&config)?;
        let tls = parameters.tls(&config)?;
        config.ssl_mode(match tls {
            Some(_) => SslMode::Require,
            None => SslMode::Disable,
        });
        let hosts = HostAddress::all(&config);
        let shown = shown(&hosts, &config);
        Ok(Self {
            hosts,
            config: Box::new(config),
            tls,
            password_file,
            shown,
        })
    }

    /// The hosts, in the order in which they are tried.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostAddress> {
        self.hosts.iter()
    }
}

/// One host of several. Each is tried by itself, so that one which stands still holds up no other.
#[derive(Clone, Debug)]
pub(super) struct HostAddress {
    host: Host,
    port: u16,
    within: Duration,
}

impl HostAddress {
    fn all(config: &Config) -> Vec<Self> {
        let ports = config.get_ports();
        let within = *config.get_connect_timeout().unwrap_or(&CONNECT_WITHIN);
        let hosts = config.get_hosts().iter().enumerate();
        hosts
            .map(|(n, host)| Self {
                host: host.clone(),
                port: ports.get(n).or(ports.first()).copied().unwrap_or(PORT),
                within: within + LOG_IN_WITHIN,
            })
            .collect()
    }

    /// How long it has to answer, with everything until it takes statements.
    pub(super) fn within(&self) -> Duration {
        self.within
    }

    /// How it is connected to.
    pub(super) fn config(&self, address: &Address) -> Config {
        let whole = &address.config;
        let mut config = Config::new();
        match &self.host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(path) => config.host_path(path),
        };
        config.port(self.port);
        config.user(whole.get_user().unwrap_or_default());
        config.dbname(whole.get_dbname().unwrap_or_default());
        config.application_name(whole.get_application_name().unwrap_or(APPLICATION));
        if let Some(password) = whole.get_password() {
            config.password(password);
        }
        if let Some(options) = whole.get_options() {
            config.options(options);
        }
        config.ssl_mode(whole.get_ssl_mode());
        config.ssl_negotiation(whole.get_ssl_negotiation());
        config.channel_binding(whole.get_channel_binding());
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(*whole.get_connect_timeout().unwrap_or(&CONNECT_WITHIN));
        config.tcp_user_timeout(*whole.get_tcp_user_timeout().unwrap_or(&UNACKNOWLEDGED));
        config.keepalives_idle(KEEPALIVE_IDLE);
        config.keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_RETRIES);
        config
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(name) => write!(f, "{name}:{}", self.port),
            Host::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Hosts and database, without role and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Takes the parameters of TLS out of a URL.
fn parted(url: &str) -> Result<(Parameters, String), AddressError> {
    if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
        return Err(AddressError::Unreadable(
            "it does not begin with postgresql://".to_owned(),
        ));
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut parameters = Parameters::default();
    let mut others = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = || {
            let value = percent_decode_str(value).decode_utf8();
            let value =
                value.map_err(|_| AddressError::Unreadable(format!("{name} is no text")))?;
            Ok(value.into_owned())
        };
        match name {
            "sslmode" => parameters.mode = Some(decoded()?),
            "sslrootcert" => parameters.roots = Some(decoded()?.into()),
            "sslcert" => parameters.certificate = Some(decoded()?.into()),
            "sslkey" => parameters.key = Some(decoded()?.into()),
            _ => others.push(pair),
        }
    }
    let rest = match others.is_empty() {
        true => base.to_owned(),
        false => format!("{base}?{}", others.join("&")),
    };
    Ok((parameters, rest))
}

/// Refuses what the URL lacks, and what it should not say.
fn check(config: &Config) -> Result<(), AddressError> {
    if config.get_hosts().is_empty() {
        return Err(AddressError::Missing("host"));
    }
    if config.get_hosts().len() > MAX_HOSTS {
        return Err(AddressError::TooLong);
    }
    if config.get_user().is_none() {
        return Err(AddressError::Missing("role"));
    }
    if config.get_dbname().is_none() {
        return Err(AddressError::Missing("database"));
    }
    if config.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
        return Err(AddressError::ReadOnly("read-only"));
    }
    if !config.get_hostaddrs().is_empty() {
        return Err(AddressError::Unreadable(
            "hostaddr is not used: name the host".to_owned(),
        ));
    }
    let (hosts, ports) = (config.get_hosts().len(), config.get_ports().len());
    if ports > 1 && ports != hosts {
        return Err(AddressError::Unreadable(
            "there is not one port for each host".to_owned(),
        ));
    }
    let is_torn = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
    if config.get_hosts().iter().any(is_torn) {
        return Err(AddressError::Unreadable(
            "a character of the password has to be percent-encoded, such as %40 for @".to_owned(),
        ));
    }
    for host in config.get_hosts() {
        check_host(host)?;
    }
    if config.get_ports().contains(&0) {
        return Err(AddressError::Unreadable(
            "port 0 is no port to connect to".to_owned(),
        ));
    }
    Ok(())
}

/// A name or an IP address, which the library takes without brackets.
fn check_host(host: &Host) -> Result<(), AddressError> {
    let Host::Tcp(name) = host else {
        return Ok(());
    };
    if name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let read = name.parse::<countersign_model::address::Host>();
    let wrong = |error| AddressError::Unreadable(format!("it {error}: {name}"));
    read.map(drop).map_err(wrong)
}

impl Parameters {
    /// TLS for what goes over a network; `None` where nothing does.
    fn tls(self, config: &Config) -> Result<Option<TlsFiles>, AddressError> {
        let remote = config.get_hosts().iter().find(|host| !is_local(host));
        let mode = match (self.mode.as_deref(), remote) {
            (Some(mode), _) => mode,
            (None, Some(_)) => "verify-full",
            (None, None) if self.roots.is_some() => "verify-full",
            (None, None) => "disable",
        };
        match (mode, remote) {
            ("verify-full", _) => {}
            ("disable", None) => return Ok(None),
            (mode, Some(host)) => {
                return Err(AddressError::Unverified(mode.to_owned(), name(host)));
            }
            (mode, None) => {
                let host = config.get_hosts().first().map(name);
                return Err(AddressError::Unverified(
                    mode.to_owned(),
                    host.unwrap_or_default(),
                ));
            }
        }
        let identity = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(AddressError::HalfIdentity),
        };
        let roots = self.roots.ok_or(AddressError::NoRoots)?;
        Ok(Some(TlsFiles { roots, identity }))
    }
}

/// Whether what is said to a host stays on this machine.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.parse::<IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    }
}

fn name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

fn shown(hosts: &[HostAddress], config: &Config) -> String {
    let hosts: Vec<_> = hosts.iter().map(HostAddress::to_string).collect();
    format!(
        "{}/{}",
        hosts.join(","),
        config.get_dbname().unwrap_or_default()
    )
}

/// The library's words, which say which part it did not read and never a password.
fn unreadable(error: &tokio_postgres::Error) -> AddressError {
    AddressError::Unreadable(crate::DatabaseError::of(error).to_string())
}

#[cfg(test)]
mod tests;
