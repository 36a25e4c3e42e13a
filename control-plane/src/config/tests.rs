use super::*;

fn read(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control-plane.toml");
    std::fs::write(&file, text).unwrap();
    Config::read(&file)
}

fn keys(text: &str) -> Vec<String> {
    let mistakes = read(text).expect_err("mistakes").mistakes;
    mistakes.into_iter().map(|mistake| mistake.key).collect()
}

#[test]
fn a_trust_domain_is_enough() {
    let config = read("trust_domain = \"example.org\"").unwrap();
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8443");
    assert_eq!(config.telemetry.listen.to_string(), "127.0.0.1:9464");
    assert!(config.admin.socket.ends_with("cp/admin.sock"));
    assert_eq!(config.svid.x509_ttl.as_secs(), 3_600);
    assert_eq!(config.ca.issuing_ttl.as_secs(), 24 * 3_600);
    assert_eq!(config.ca.root_ttl.as_secs(), 3_650 * 24 * 3_600);
}

#[test]
fn every_mistake_is_in_one_report() {
    let found = keys(
        "trust_domain = \"Example.org\"\ncolour = 1\n[api]\nlisten = \"here\"\n\
         [svid]\nrenew_at = 2.0\n[log]\nformat = \"xml\"\nfilter = \"a=b=c\"\n",
    );
    for key in [
        "trust_domain",
        "api.listen",
        "svid.renew_at",
        "log.format",
        "log.filter",
        "colour",
    ] {
        assert!(found.iter().any(|f| f == key), "{key} in {found:?}");
    }
}

#[test]
fn a_lifetime_that_is_never_issued_is_a_mistake() {
    let text = |ttl| {
        format!(
            "trust_domain = \"example.org\"\n[svid]\nx509_ttl = \"{ttl}\"\n[ca]\nissuing_ttl = \"30d\"\n"
        )
    };
    for ttl in ["19s", "25h", "20500ms"] {
        assert_eq!(keys(&text(ttl)), ["svid.x509_ttl"], "{ttl}");
    }
    assert!(read(&text("24h")).is_ok());
}

#[test]
fn telemetry_demands_loopback() {
    let found = keys("trust_domain = \"example.org\"\n[telemetry]\nlisten = \"0.0.0.0:9464\"\n");
    assert_eq!(found, ["telemetry.listen"]);
}

#[test]
fn an_issuing_ca_outlives_six_svids() {
    let text = |ttl| {
        format!(
            "trust_domain = \"example.org\"\n[svid]\nx509_ttl = \"1h\"\n[ca]\nissuing_ttl = \"{ttl}\"\n"
        )
    };
    assert_eq!(keys(&text("5h")), ["ca.issuing_ttl"]);
    assert!(read(&text("6h")).is_ok());
}

#[test]
fn paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control-plane.toml");
    std::fs::write(
        &file,
        "trust_domain = \"example.org\"\ndata_dir = \"state\"",
    )
    .unwrap();
    assert_eq!(
        Config::read(&file).unwrap().data_dir,
        folder.path().join("state")
    );
}
