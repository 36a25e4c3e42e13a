//! Whom a request was meant for.
//!
//! A page in a browser of this machine can have its own name resolve to 127.0.0.1 and read what
//! answers there (DNS rebinding). The browser still sends the name of the page, so only a request
//! for a loopback name is answered.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::uri::Authority;
use http::{Request, StatusCode, Version};

/// Whether a request was meant for this machine. HTTP/1.0 may leave the host out: no browser
/// speaks it.
///
/// # Errors
/// 400 where HTTP/1.1 names no host or several (RFC 9112 section 3.2), 421 where it names another.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), StatusCode> {
    if request
        .uri()
        .authority()
        .is_some_and(|target| !is_loopback(target))
    {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_10 => Ok(()),
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(host) if is_loopback(&host) => Ok(()),
            _ => Err(StatusCode::MISDIRECTED_REQUEST),
        },
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

/// `localhost`, `127.0.0.0/8` or `[::1]`, with or without a port.
fn is_loopback(authority: &Authority) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(v6) => v6
            .parse()
            .is_ok_and(|v6: Ipv6Addr| v6.to_canonical().is_loopback()),
        None => {
            let v4 = host.parse().is_ok_and(|v4: Ipv4Addr| v4.is_loopback());
            v4 || host.eq_ignore_ascii_case("localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: Version, target: &str, hosts: &[&str]) -> Result<(), u16> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        check(&request.body(()).unwrap()).map_err(|status| status.as_u16())
    }

    #[test]
    fn only_loopback_names_are_answered() {
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
            assert_eq!(
                asked(Version::HTTP_11, "/metrics", &[host]),
                Ok(()),
                "{host}"
            );
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
        ] {
            assert_eq!(
                asked(Version::HTTP_11, "/metrics", &[host]),
                Err(421),
                "{host}"
            );
        }
    }

    #[test]
    fn absent_and_double_hosts_are_told_apart() {
        assert_eq!(asked(Version::HTTP_10, "/livez", &[]), Ok(()));
        assert_eq!(
            asked(Version::HTTP_10, "/livez", &["evil.example"]),
            Err(421)
        );
        assert_eq!(asked(Version::HTTP_11, "/livez", &[]), Err(400));
        let two = ["localhost", "evil.example"];
        assert_eq!(asked(Version::HTTP_11, "/livez", &two), Err(400));
    }

    #[test]
    fn absolute_targets_are_judged_too() {
        let own = "http://127.0.0.1:9464/livez";
        assert_eq!(asked(Version::HTTP_11, own, &["localhost"]), Ok(()));
        let foreign = "http://evil.example/livez";
        assert_eq!(asked(Version::HTTP_11, foreign, &["localhost"]), Err(421));
    }
}
