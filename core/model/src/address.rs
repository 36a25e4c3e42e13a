//! Where something is reached: a host and perhaps a port, as people and peers write it.
//!
//! The one reader of such a text in both daemons and the CLI. It takes less than RFC 3986 section 3.2 allows,
//! so that nothing is dialled that nobody meant: a host is never empty and either a name of the DNS or an address
//! in its usual form, and a port is 1 to 65535 or not written at all. What other readers make of the rest, such
//! as `127.1`, a port of five nines or a zone, is refused here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest name of a host, in bytes (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// Longest part of one.
const MAX_LABEL: usize = 63;
/// Most digits of a port.
const MAX_PORT_DIGITS: usize = 5;
/// The port of an HTTPS address that names none.
pub const HTTPS_PORT: u16 = 443;

/// Why a text is no address, in words that follow its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error("does not begin with {0}")]
    Scheme(&'static str),
    /// A name and a password have no business in an address.
    #[error("has user information")]
    User,
    /// Something stands behind the port.
    #[error("has a path or query")]
    Path,
    /// Nobody is named.
    #[error("names no host")]
    NoHost,
    /// Neither a name nor an IP address.
    #[error("names a host that is neither a name of the DNS nor an IP address (IPv6 in brackets)")]
    Host,
    /// More than a name can have.
    #[error("names a host of more than {MAX_NAME} bytes, or with a part of more than {MAX_LABEL}")]
    LongHost,
    /// A colon without a port, or with something else.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    /// Whoever connects has to know where.
    #[error("names no port")]
    NoPort,
    /// A host alone was asked for.
    #[error("has more than a host")]
    MoreThanHost,
}

/// A machine, as it is named. Letter case means nothing, and is not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name of the DNS.
    Name(String),
    /// An address; in text an IPv6 one is in brackets.
    Ip(IpAddr),
}

impl FromStr for Host {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(rest) = text.strip_prefix('[') {
            let v6 = rest.strip_suffix(']').ok_or(AddressError::Host)?;
            let v6: Ipv6Addr = v6.parse().map_err(|_| AddressError::Host)?;
            return Ok(Self::Ip(v6.into()));
        }
        if let Ok(v4) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(v4.into()));
        }
        check_name(text)?;
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

/// `HOST` or `HOST:PORT`, as in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The machine.
    pub host: Host,
    /// The port, where one is written.
    pub port: Option<u16>,
}

impl FromStr for Authority {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains('@') {
            return Err(AddressError::User);
        }
        // A colon within brackets belongs to the host.
        let name = text.find(']').map_or(0, |end| end + 1);
        let (host, port) = match text[name..].find(':') {
            Some(colon) => (&text[..name + colon], Some(&text[name + colon + 1..])),
            None => (text, None),
        };
        let host = host.parse()?;
        let port = port.map(parse_port).transpose()?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Reads the authority of a URL with this scheme, such as `https://`; and what stands behind it.
///
/// # Errors
/// Another scheme, or no authority.
pub fn authority_of<'a>(
    text: &'a str,
    scheme: &'static str,
) -> Result<(Authority, &'a str), AddressError> {
    // Schemes are compared without case (RFC 3986 section 3.1).
    let begins = text.get(..scheme.len());
    let begins = begins.is_some_and(|it| it.eq_ignore_ascii_case(scheme));
    if !begins {
        return Err(AddressError::Scheme(scheme));
    }
    let rest = &text[scheme.len()..];
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    Ok((rest[..end].parse()?, &rest[end..]))
}

/// Whether a text is a URL of HTTP or HTTPS. What stands behind the host and the port is not looked at.
///
/// # Errors
/// Another scheme, or nobody who could be asked.
pub fn check_http(text: &str) -> Result<(), AddressError> {
    let secure = authority_of(text, "https://");
    match secure {
        Err(AddressError::Scheme(_)) => authority_of(text, "http://").map(drop),
        read => read.map(drop),
    }
    .map_err(|error| match error {
        AddressError::Scheme(_) => AddressError::Scheme("http:// or https://"),
        error => error,
    })
}

/// Where a control plane is: `https://host:port`. Two that lead to the same port of the same name are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpsAddress {
    host: Host,
    port: u16,
}

impl HttpsAddress {
    /// The machine.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port: [`HTTPS_PORT`] where none was written.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HttpsAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (Authority { host, port }, rest) = authority_of(text, "https://")?;
        match rest {
            "" | "/" => Ok(Self {
                host,
                port: port.unwrap_or(HTTPS_PORT),
            }),
            _ => Err(AddressError::Path),
        }
    }
}

/// Always with its port.
impl fmt::Display for HttpsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = match is_number && text.len() <= MAX_PORT_DIGITS {
        true => text.parse().ok(),
        false => None,
    };
    port.filter(|port| *port != 0).ok_or(AddressError::Port)
}

/// Whether a text is a name of the DNS, and no address that was written badly. It may end with a dot.
fn check_name(text: &str) -> Result<(), AddressError> {
    if text.is_empty() {
        return Err(AddressError::NoHost);
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    if !name.split('.').all(is_label) {
        return Err(AddressError::Host);
    }
    if name.len() > MAX_NAME || name.split('.').any(|label| label.len() > MAX_LABEL) {
        return Err(AddressError::LongHost);
    }
    // What ends with a number is an IPv4 address for those who resolve names, in one of its old forms.
    let last = name.rsplit('.').next().unwrap_or_default();
    match is_number(last) {
        true => Err(AddressError::Host),
        false => Ok(()),
    }
}

fn is_label(label: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = label.as_bytes();
    is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().copied().all(may)
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or(label.strip_prefix("0X"));
    match hex {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests;
