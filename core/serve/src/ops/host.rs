//! Whom a request was meant for.
//!
//! A page in a browser of this machine can have its own name resolve to 127.0.0.1 and read what
//! answers there (DNS rebinding). The browser still sends the name of the page, so details are told
//! to a request for a loopback name alone, and metrics besides to one for a name that an operator
//! listed.

use countersign_model::address::{AddressError, Authority, Host};
use http::header::HOST;
use http::{Request, StatusCode, Version};

/// Most hosts that metrics are told to besides loopback: a scraper has one name for its target, or a
/// few.
pub const MAX_HOSTS: usize = 16;

/// How much a request may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// It was meant for this machine: everything.
    Loopback,
    /// It was meant for a host that the operator listed: metrics.
    Listed,
    /// It was meant for another: whether the daemon is well, in a word.
    Other,
}

/// A host as [`serve`](super::serve) takes it: a name or an IP address (in IPv6 with brackets), without
/// a port. Letter case means nothing.
///
/// # Errors
/// What is wrong with it.
pub fn parse_host(text: &str) -> Result<String, String> {
    let host = text.parse::<Authority>().and_then(|it| match it.port {
        None => Ok(it.host.to_string()),
        Some(_) => Err(AddressError::MoreThanHost),
    });
    host.map_err(|error| error.to_string())
}

/// Whom a request was meant for. HTTP/1.0 may leave the host out: no browser speaks it.
///
/// # Errors
/// 400 where HTTP/1.1 names no host or several (RFC 9112 section 3.2).
pub(super) fn audience<B>(request: &Request<B>, listed: &[String]) -> Result<Audience, StatusCode> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_10 => Audience::Loopback,
        (Some(host), None) => judge(host.to_str().unwrap_or_default(), listed),
        _ => return Err(StatusCode::BAD_REQUEST),
    };
    // A target may name a host as well: then both have to be right.
    match request.uri().authority() {
        Some(target) if judge(target.as_str(), listed) != named => Ok(Audience::Other),
        _ => Ok(named),
    }
}

/// Whoever is named by what is no host and port is nobody that is known.
fn judge(named: &str, listed: &[String]) -> Audience {
    let Ok(Authority { host, .. }) = named.parse() else {
        return Audience::Other;
    };
    match is_loopback(&host) {
        true => Audience::Loopback,
        false if listed.contains(&host.to_string()) => Audience::Listed,
        false => Audience::Other,
    }
}

/// `localhost`, an address of `127.0.0.0/8` or `[::1]`.
fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Name(name) => name == "localhost",
        Host::Ip(ip) => ip.to_canonical().is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: Version, target: &str, hosts: &[&str]) -> Result<Audience, u16> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let listed = ["10.0.0.7".to_owned(), "[fd00::7]".to_owned()];
        audience(&request.body(()).unwrap(), &listed).map_err(|status| status.as_u16())
    }

    fn named(host: &str) -> Result<Audience, u16> {
        asked(Version::HTTP_11, "/metrics", &[host])
    }

    #[test]
    fn only_loopback_names_are_told_everything() {
        for host in [
            "localhost",
            "LOCALHOST:9464",
            "127.0.0.1",
            "127.0.0.1:9464",
            "127.255.255.254:1",
            "[::1]",
            "[::1]:9464",
            "[::ffff:127.0.0.1]:9464",
        ] {
            assert_eq!(named(host), Ok(Audience::Loopback), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "10.0.0.1:9464",
            "0.0.0.0:9464",
            "[::]:9464",
            "::1",
            "localhost, evil.example",
            "localhost:",
            "localhost:65536",
            "[::1]:99999",
        ] {
            assert_eq!(named(host), Ok(Audience::Other), "{host}");
        }
    }

    #[test]
    fn absent_and_double_hosts_are_told_apart() {
        let old = |hosts: &[&str]| asked(Version::HTTP_10, "/livez", hosts);
        assert_eq!(old(&[]), Ok(Audience::Loopback));
        assert_eq!(old(&["evil.example"]), Ok(Audience::Other));
        assert_eq!(asked(Version::HTTP_11, "/livez", &[]), Err(400));
        let two = ["localhost", "evil.example"];
        assert_eq!(asked(Version::HTTP_11, "/livez", &two), Err(400));
    }

    #[test]
    fn absolute_targets_are_judged_too() {
        for (target, host, told) in [
            (
                "http://127.0.0.1:9464/livez",
                "localhost",
                Audience::Loopback,
            ),
            ("http://evil.example/livez", "localhost", Audience::Other),
            ("http://localhost/livez", "evil.example", Audience::Other),
            ("http://localhost/livez", "10.0.0.7", Audience::Other),
            ("http://10.0.0.7/livez", "10.0.0.7", Audience::Listed),
        ] {
            let asked = asked(Version::HTTP_11, target, &[host]);
            assert_eq!(asked, Ok(told), "{target} at {host}");
        }
    }

    #[test]
    fn listed_hosts_are_matched_whole() {
        for host in ["10.0.0.7", "10.0.0.7:9464", "[fd00::7]:9464", "[FD00::7]"] {
            assert_eq!(named(host), Ok(Audience::Listed), "{host}");
        }
        for host in [
            "10.0.0.77",
            "x10.0.0.7",
            "10.0.0.7.evil.example",
            "a@10.0.0.7",
        ] {
            assert_eq!(named(host), Ok(Audience::Other), "{host}");
        }
    }

    #[test]
    fn a_listed_host_is_a_host_alone() {
        for host in ["10.0.0.7", "[fd00::7]", "Node-7.example"] {
            assert_eq!(parse_host(host), Ok(host.to_ascii_lowercase()));
        }
        for host in [
            "",
            "10.0.0.7:9464",
            "a@b",
            "http://a",
            "fd00::7",
            "a b",
            "a/b",
        ] {
            assert!(parse_host(host).is_err(), "{host:?}");
        }
    }
}
