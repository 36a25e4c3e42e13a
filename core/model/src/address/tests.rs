use proptest::prelude::*;

use super::*;

fn address(text: &str) -> Result<HttpsAddress, AddressError> {
    text.parse()
}

#[test]
fn address_is_read_and_written_in_one_form() {
    for (text, written) in [
        ("https://cp-a:8443", "https://cp-a:8443"),
        ("https://CP-A.Example:8443/", "https://cp-a.example:8443"),
        ("https://cp_a.example.", "https://cp_a.example.:443"),
        ("HTTPS://cp", "https://cp:443"),
        ("https://10.0.0.7:1", "https://10.0.0.7:1"),
        ("https://[::1]:65535", "https://[::1]:65535"),
        ("https://[FD00:0:0::7]", "https://[fd00::7]:443"),
        (
            "https://xn--bcher-kva.example",
            "https://xn--bcher-kva.example:443",
        ),
        ("https://3com.1a:08443", "https://3com.1a:8443"),
    ] {
        assert_eq!(
            address(text).map(|it| it.to_string()),
            Ok(written.to_owned()),
            "{text}"
        );
    }
    assert_eq!(address("https://a"), address("https://A:443/"));
    assert_ne!(address("https://a"), address("https://a:8443"));
}

/// What other readers dial at another port, at this machine or at whoever answers.
#[test]
fn what_leads_elsewhere_is_refused() {
    use AddressError::*;
    let long = format!("https://{}", ["a"; 127].join("."));
    let longer = format!("{long}.a");
    assert!(address(&long).is_ok());
    let label = format!("https://{}", "a".repeat(64));
    for (text, error) in [
        ("https://cp:65536", Port),
        ("https://cp:99999", Port),
        ("https://cp:4294967739", Port),
        ("https://cp:0", Port),
        ("https://cp:", Port),
        ("https://cp:+1", Port),
        ("https://cp:-1", Port),
        ("https://cp: 1", Port),
        ("https://cp:1:2", Port),
        ("https://cp:000443", Port),
        ("https://[::1]:70000", Port),
        ("https://", NoHost),
        ("https://:8443", NoHost),
        ("https:///path", NoHost),
        ("https://.", Host),
        ("https://a..b", Host),
        ("https://-a", Host),
        ("https://a-.b", Host),
        ("https://127.1", Host),
        ("https://2130706433", Host),
        ("https://0x7f.1", Host),
        ("https://a.0x7f", Host),
        ("https://300.0.0.1:80", Host),
        ("https://1.2.3.4.", Host),
        ("https://::1", NoHost),
        ("https://[::1", Host),
        ("https://[::1]x", Host),
        ("https://[127.0.0.1]", Host),
        ("https://[fe80::1%25eth0]:1", Host),
        ("https://b\u{fc}cher", Host),
        ("https://a b", Host),
        ("https://a\u{1b}[2J", Host),
        ("https://a%2eb", Host),
        ("https://u@a", User),
        ("https://u:p@a:1", User),
        ("https://a:1/x", Path),
        ("https://a?b", Path),
        ("https://a#b", Path),
        ("https://a\\b", Path),
        ("http://a:1", Scheme("https://")),
        ("a:1", Scheme("https://")),
        ("", Scheme("https://")),
        ("https:/\u{e9}", Scheme("https://")),
        (&longer, LongHost),
        (&label, LongHost),
    ] {
        assert_eq!(address(text), Err(error), "{text}");
    }
}

proptest! {
    /// Whatever is taken is one host, one port, and reads the same from what it is written as.
    #[test]
    fn what_is_taken_is_read_again(text in "(https://)?[a-z0-9.:@/\\[\\]%_-]{0,24}(:[0-9]{1,6})?") {
        if let Ok(read) = address(&text) {
            prop_assert_eq!(address(&read.to_string()), Ok(read.clone()));
            prop_assert_ne!(read.port(), 0);
            let written = text.trim_end_matches('/').rsplit_once(':');
            if let Some(Ok(port)) = written.map(|(_, port)| port.parse::<u64>()) {
                prop_assert_eq!(u64::from(read.port()), port);
            }
        }
    }

    /// Every name and address in its usual form, with every port.
    #[test]
    fn usual_addresses_are_taken(
        name in "[a-z][a-z0-9]{0,20}(-[a-z0-9]{1,9})?(\\.[a-z][a-z0-9]{0,20}){0,3}",
        v4 in any::<Ipv4Addr>(),
        v6 in any::<Ipv6Addr>(),
        port in 1..=u16::MAX,
    ) {
        for (host, expected) in [
            (name.clone(), Host::Name(name)),
            (v4.to_string(), Host::Ip(v4.into())),
            (format!("[{v6}]"), Host::Ip(v6.into())),
        ] {
            let read = address(&format!("https://{host}:{port}")).unwrap();
            prop_assert_eq!((read.host(), read.port()), (&expected, port));
        }
    }
}
