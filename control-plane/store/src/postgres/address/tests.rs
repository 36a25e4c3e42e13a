use super::*;

const TLS: &str = "sslmode=verify-full&sslrootcert=/etc/db-ca.pem";

fn parse(url: &str) -> Result<Address, AddressError> {
    Address::parse(url, None)
}

#[test]
fn address_of_the_manual_is_read() {
    let address = parse(&format!("postgresql://countersign@db1,db2:5433/mesh?{TLS}")).unwrap();
    assert_eq!(address.to_string(), "db1:5432,db2:5433/mesh");
    let files = address.tls.clone().unwrap();
    assert_eq!(files.roots, PathBuf::from("/etc/db-ca.pem"));
    assert_eq!(files.identity, None);
    let configs: Vec<_> = address.hosts().map(|host| host.config(&address)).collect();
    assert_eq!(configs.len(), 2);
    for config in configs {
        assert_eq!(
            config.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
        assert_eq!(config.get_application_name(), Some("countersign"));
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
        assert_eq!((config.get_hosts().len(), config.get_ports().len()), (1, 1));
    }
}

#[test]
fn network_without_verification_is_refused() {
    for mode in [
        "disable",
        "allow",
        "prefer",
        "require",
        "verify-ca",
        "nonsense",
    ] {
        let refused = parse(&format!("postgresql://c@db1/mesh?sslmode={mode}")).unwrap_err();
        assert_eq!(
            refused,
            AddressError::Unverified(mode.to_owned(), "db1".to_owned())
        );
    }
    // One host of several is enough.
    let refused = parse("postgresql://c@127.0.0.1,db2/mesh?sslmode=disable").unwrap_err();
    assert_eq!(
        refused,
        AddressError::Unverified("disable".to_owned(), "db2".to_owned())
    );
    assert_eq!(
        parse("postgresql://c@db1/mesh").unwrap_err(),
        AddressError::NoRoots
    );
}

#[test]
fn nothing_goes_over_a_network_to_a_socket() {
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "%2Fvar%2Frun%2Fpostgresql",
    ] {
        let address = parse(&format!("postgresql://c@{host}/mesh")).unwrap();
        assert_eq!(address.tls, None, "{host}");
        let address = parse(&format!("postgresql://c@{host}/mesh?{TLS}")).unwrap();
        assert!(address.tls.is_some(), "{host}: what is asked for is done");
    }
}

#[test]
fn what_is_missing_is_named() {
    let missing = |url: &str, what| {
        assert_eq!(
            parse(url).unwrap_err(),
            AddressError::Missing(what),
            "{url}"
        );
    };
    missing("postgresql:///mesh?user=c", "host");
    missing("postgresql://db1/mesh", "role");
    missing("postgresql://c@db1", "database");
    let half = format!("postgresql://c@db1/mesh?{TLS}&sslcert=/c.pem");
    assert_eq!(parse(&half).unwrap_err(), AddressError::HalfIdentity);
    let standby = format!("postgresql://c@db1/mesh?{TLS}&target_session_attrs=read-only");
    assert_eq!(
        parse(&standby).unwrap_err(),
        AddressError::ReadOnly("read-only")
    );
}

#[test]
fn what_is_no_address_is_refused() {
    for url in [
        "",
        "mysql://c@db1/mesh",
        "db1",
        "postgresql://c@db1:x/mesh",
        "postgresql://c@db1/m?zz=1",
        "postgresql://c@localhost/m?hostaddr=10.0.0.1",
        "postgresql://c@db1,db2,db3/m?port=1,2",
        "postgresql://c:hunter@2@db1/m",
    ] {
        let refused = parse(url).unwrap_err();
        assert!(
            matches!(refused, AddressError::Unreadable(_)),
            "{url}: {refused}"
        );
    }
    let long = format!("postgresql://c@{}/mesh", "h".repeat(MAX_URL));
    assert_eq!(parse(&long).unwrap_err(), AddressError::TooLong);
    let hosts = ["h"; MAX_HOSTS + 1].join(",");
    assert_eq!(
        parse(&format!("postgresql://c@{hosts}/m")).unwrap_err(),
        AddressError::TooLong
    );
}

#[test]
fn password_is_never_shown() {
    let url = format!("postgresql://countersign:hunter2@db1/mesh?{TLS}");
    let address = parse(&url).unwrap();
    assert_eq!(address.config.get_password(), Some(&b"hunter2"[..]));
    for shown in [address.to_string(), format!("{address:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let both = Address::parse(&url, Some(PathBuf::from("/etc/password"))).unwrap_err();
    assert_eq!(both, AddressError::TwoPasswords);
    for broken in [
        "postgresql://c:hunter2@db1:port/mesh",
        "postgresql://c:hunter2@db1/m?x=y",
    ] {
        let refused = parse(broken).unwrap_err();
        assert!(
            !format!("{refused} {refused:?}").contains("hunter2"),
            "{refused}"
        );
    }
}
