use std::time::Duration;

use countersign_authority::{StoreKind, StoreSettings};
use countersign_cli::config::Origin;

use super::*;
use crate::entropy::OsEntropy;

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
fn minimal_file_tells_every_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control-plane.toml");
    std::fs::write(
        &file,
        "trust_domain = \"example.org\"\n[ca]\nroot_ttl = \"90d\"",
    )
    .unwrap();
    let (config, settings) = Config::read_with_settings(&file).unwrap();
    let of = |key: &str| settings.iter().find(|it| it.key == key).unwrap();
    assert_eq!(of("trust_domain").origin, Origin::File);
    assert_eq!(of("ca.root_ttl").origin, Origin::File);
    assert_eq!(of("ca.root_ttl").value, Some("90d".into()));
    assert_eq!(of("svid.x509_ttl").value, Some("1h".into()));
    assert_eq!(of("svid.x509_ttl").origin, Origin::Default);
    assert_eq!(of("telemetry.otlp_endpoint").origin, Origin::Unset);
    let socket = config.admin.socket.display().to_string();
    assert_eq!(of("admin.socket").value, Some(socket.into()));
    for key in Config::keys().iter().filter(|key| !key.key.contains("[]")) {
        let is_read = settings.iter().any(|setting| setting.key == key.key);
        assert!(is_read || key.key.starts_with("ca.pkcs11."), "{}", key.key);
    }
}

#[test]
fn admin_socket_follows_the_data_directory() {
    let text = "trust_domain = \"example.org\"\ndata_dir = \"/srv/plane\"";
    let config = read(text).unwrap();
    assert_eq!(config.admin.socket, Path::new("/srv/plane/admin.sock"));
    let text = format!("{text}\n[admin]\nsocket = \"/run/x.sock\"");
    let config = read(&text).unwrap();
    assert_eq!(config.admin.socket, Path::new("/run/x.sock"));
    let long = format!("/{}", "x".repeat(100));
    let text = text
        .replace("/srv/plane", &long)
        .replace("/run/x.sock", "/run/y");
    assert!(read(&text).is_ok(), "only a socket has so short a path");
    let text = format!("trust_domain = \"example.org\"\ndata_dir = \"{long}\"");
    assert_eq!(keys(&text), ["admin.socket"]);
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
fn bounds_of_lifetimes_only_narrow() {
    let text = |svid| format!("trust_domain = \"example.org\"\n[svid]\n{svid}\n");
    for (svid, key) in [
        ("min_ttl = \"19s\"", "svid.min_ttl"),
        ("max_ttl = \"25h\"", "svid.max_ttl"),
        ("max_ttl = \"59m\"", "svid.x509_ttl"),
        ("min_ttl = \"61m\"", "svid.x509_ttl"),
        ("backdate = \"11m\"", "svid.backdate"),
        ("[ca]\nbackdate = \"25h\"", "ca.backdate"),
    ] {
        assert_eq!(keys(&text(svid)), [key], "{svid}");
    }
    let config = read(&text("backdate = \"0s\"\nblocked_keys = \"list\"")).unwrap();
    assert!(config.svid.backdate.is_zero());
    assert!(config.svid.blocked_keys.unwrap().ends_with("list"));
    assert_eq!(config.ca.backdate.as_secs(), 3_600);
}

#[test]
fn a_leaf_is_not_dated_back_beyond_its_issuer() {
    let text = |svid, ca| {
        format!(
            "trust_domain = \"example.org\"\n[svid]\nbackdate = \"{svid}\"\n\
             [ca]\nbackdate = \"{ca}\"\n"
        )
    };
    for (svid, ca) in [("60s", "0s"), ("60s", "59s"), ("10m", "9m")] {
        assert_eq!(keys(&text(svid, ca)), ["ca.backdate"], "{svid} {ca}");
    }
    for (svid, ca) in [("60s", "60s"), ("0s", "0s"), ("10m", "1h")] {
        assert!(read(&text(svid, ca)).is_ok(), "{svid} {ca}");
    }
}

#[test]
fn missing_trust_domain_hides_no_other_mistake() {
    let found = keys("[issuance_log]\nkeep_for = \"1s\"\n[policy]\nrequire_criticality = 1\n");
    let expected = [
        "trust_domain",
        "issuance_log.keep_for",
        "policy.require_criticality",
    ];
    assert_eq!(found, expected);
}

#[test]
fn telemetry_demands_loopback() {
    let found = keys("trust_domain = \"example.org\"\n[telemetry]\nlisten = \"0.0.0.0:9464\"\n");
    assert_eq!(found, ["telemetry.listen"]);
}

#[test]
fn metrics_hosts_are_names_without_ports() {
    let text =
        |hosts: &str| format!("trust_domain = \"example.org\"\n[telemetry]\nhosts = {hosts}\n");
    assert_eq!(keys(&text(r#"["10.0.0.7:9464"]"#)), ["telemetry.hosts[0]"]);
    assert_eq!(
        keys(&text(&format!("{:?}", vec!["a"; 17]))),
        ["telemetry.hosts"]
    );
    let hosts = read(&text(r#"["Node-7", "[fd00::7]"]"#))
        .unwrap()
        .telemetry
        .hosts;
    assert_eq!(hosts, ["node-7", "[fd00::7]"]);
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

fn with_ca(text: &str) -> String {
    format!("trust_domain = \"example.org\"\n{text}")
}

#[test]
fn tiers_and_stores_are_read() {
    let config = read(&with_ca(
        "[ca]\nintermediate = true\nintermediate_ttl = \"90d\"\n\
         [ca.keys]\nroot = \"disk\"\nintermediate = \"pkcs11\"\nissuing = \"memory\"\n\
         [ca.pkcs11]\nmodule = \"/usr/lib/hsm.so\"\ntoken = \"mesh\"\npin_file = \"pin\"\n",
    ))
    .unwrap();
    let hierarchy = config.authority(Arc::new(OsEntropy)).hierarchy;
    assert_eq!(hierarchy.root, Some(StoreKind::Disk));
    let ninety_days = Duration::from_secs(90 * 86_400);
    let intermediate = Some((StoreKind::Pkcs11, ninety_days));
    assert_eq!(hierarchy.intermediate, intermediate);
    assert_eq!(hierarchy.issuing, StoreKind::Memory);
    let token = hierarchy.pkcs11.unwrap();
    assert_eq!(token.module, Path::new("/usr/lib/hsm.so"));
    assert!(token.pin_file.is_absolute(), "relative to the file");
    let shown = serde_json::to_value(&config).unwrap();
    assert_eq!(shown["ca"]["keys"]["issuing"], "memory");
    assert_eq!(shown["ca"]["pkcs11"]["token"], "mesh");
}

#[test]
fn external_root_brings_an_intermediate() {
    let config = read(&with_ca("[ca]\nroot = \"external\"\n")).unwrap();
    let hierarchy = config.authority(Arc::new(OsEntropy)).hierarchy;
    assert_eq!(hierarchy.root, None);
    assert!(hierarchy.intermediate.is_some());
}

#[test]
fn settings_without_effect_are_mistakes() {
    let found = keys(&with_ca(
        "[ca]\nroot = \"external\"\nintermediate = false\nroot_ttl = \"3650d\"\n\
         [ca.keys]\nroot = \"disk\"\n",
    ));
    assert_eq!(found, ["ca.intermediate", "ca.keys.root", "ca.root_ttl"]);
}

#[test]
fn keys_that_would_be_lost_are_mistakes() {
    let found = keys(&with_ca(
        "[ca.keys]\nroot = \"memory\"\nintermediate = \"memory\"\nissuing = \"cloud\"\n",
    ));
    let expected = ["ca.keys.root", "ca.keys.intermediate", "ca.keys.issuing"];
    assert_eq!(found, expected);
}

#[test]
fn token_is_described_where_it_is_used() {
    let found = keys(&with_ca("[ca.keys]\nissuing = \"pkcs11\"\n"));
    let expected = ["ca.pkcs11.module", "ca.pkcs11.token", "ca.pkcs11.pin_file"];
    assert_eq!(found, expected);
}

#[test]
fn intermediate_outlives_two_issuing_cas() {
    let text = |ttl| {
        with_ca(&format!(
            "[ca]\nintermediate = true\nintermediate_ttl = \"{ttl}\"\nissuing_ttl = \"1d\"\n"
        ))
    };
    assert_eq!(keys(&text("47h")), ["ca.intermediate_ttl"]);
    assert_eq!(keys(&text("4000d")), ["ca.root_ttl"]);
    assert!(read(&text("2d")).is_ok());
}

#[test]
fn a_policy_is_read_in_order() {
    let config = read(
        "trust_domain = \"example.org\"\n[policy]\nrequire_criticality = true\n\
         [[policy.rule]]\nname = \"pay\"\nnodes = [\"/node/pay/*\"]\nids = [\"/pay/**\"]\n\
         attestor = \"join_token\"\nmin_ttl = \"1m\"\nmax_ttl = \"1h\"\n\
         dns = [\"*.pay.example.org\"]\nowners = [\"team-pay\"]\nexpires_within = \"90d\"\n\
         [[policy.rule]]\nname = \"hand\"\nby_hand = true\nids = [\"/plc/*\"]\n",
    );
    let shown = serde_json::to_value(&config.unwrap().policy).unwrap();
    let expected = serde_json::json!({"require_criticality": true, "rule": [
        {
            "name": "pay", "nodes": ["/node/pay/*"], "attestor": "join_token",
            "ids": ["/pay/**"], "ttl_secs": [60, 3_600], "dns": ["*.pay.example.org"],
            "owners": ["team-pay"], "expires_within_secs": 90 * 86_400,
        },
        {
            "name": "hand", "by_hand": true, "ids": ["/plc/*"], "ttl_secs": [20, 86_400],
            "dns": [], "owners": [], "expires_within_secs": null,
        },
    ]});
    assert_eq!(shown, expected);
}

#[test]
fn every_mistake_of_a_policy_is_in_one_report() {
    let found = keys(
        "trust_domain = \"example.org\"\n\
         [[policy.rule]]\nname = \"a\"\nnodes = [\"/node/*\"]\nids = [\"/a*\", \"/a/../b\"]\n\
         min_ttl = \"2h\"\nmax_ttl = \"1h\"\ndns = [\"*\"]\ncolour = 1\n\
         [[policy.rule]]\nname = \"a\"\nby_hand = true\nids = [\"/x\"]\n\
         [[policy.rule]]\nname = \"B!\"\nnodes = [\"/**\"]\nby_hand = true\n\
         attestor = \"hope\"\nmax_ttl = \"25h\"\n\
         [[policy.rule]]\nname = \"c\"\nids = [\"/x\"]\nexpires_within = \"1s\"\n\
         [[policy.rule]]\nname = \"d\"\nby_hand = true\nattestor = \"join_token\"\nids = []\n",
    );
    for key in [
        "policy.rule[0].ids[0]",
        "policy.rule[0].ids[1]",
        "policy.rule[0].min_ttl",
        "policy.rule[0].dns[0]",
        "policy.rule[0].colour",
        "policy.rule[1].name",
        "policy.rule[2].name",
        "policy.rule[2].by_hand",
        "policy.rule[2].attestor",
        "policy.rule[2].max_ttl",
        "policy.rule[2].ids",
        "policy.rule[3].nodes",
        "policy.rule[3].expires_within",
        "policy.rule[4].attestor",
        "policy.rule[4].ids",
    ] {
        assert!(found.iter().any(|f| f == key), "{key} in {found:?}");
    }
}

#[test]
fn a_policy_is_bounded() {
    let rule = |n: usize, ids: usize| {
        let ids: Vec<_> = (0..ids).map(|id| format!("\"/{id}\"")).collect();
        let ids = ids.join(",");
        format!("[[policy.rule]]\nname = \"r{n}\"\nby_hand = true\nids = [{ids}]\n")
    };
    let text = |rules: usize, ids: usize| {
        let rules: String = (0..rules).map(|n| rule(n, ids)).collect();
        format!("trust_domain = \"example.org\"\n{rules}")
    };
    assert!(read(&text(256, 64)).is_ok());
    assert_eq!(keys(&text(257, 1)), ["policy.rule"]);
    assert_eq!(keys(&text(1, 65)), ["policy.rule[0].ids"]);
}

#[test]
fn a_misspelt_policy_is_no_absent_one() {
    for section in [
        "[[policy.rules]]",
        "[[policy_rule]]",
        "[[Policy.rule]]",
        "[policy.rule]",
        "[[policy]]",
    ] {
        let rule = "name = \"a\"\nby_hand = true\nids = [\"/x\"]\n";
        let found = read(&format!(
            "trust_domain = \"example.org\"\n{section}\n{rule}"
        ));
        assert!(found.is_err(), "{section}");
    }
}

/// A folder with a configuration and a file of an invitation, of this mode.
fn joins(settings: &str, invitation: &str, mode: u32) -> Result<Config, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("b.invitation");
    std::fs::write(&file, invitation).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    let mut config = read(&format!("trust_domain = \"example.org\"\n{settings}")).unwrap();
    config.join(&file).map(|()| config)
}

const SHARED: &str =
    "[store]\nurl = \"postgresql://b@127.0.0.1/b?sslmode=disable\"\n[replica]\nname = \"b\"";

fn invitation() -> String {
    let secret = "0a".repeat(32);
    format!("{{\"trust_domain\":\"example.org\",\"replica\":\"b\",\"secret\":\"{secret}\"}}\n")
}

#[test]
fn invitation_is_taken_from_its_file() {
    let config = joins(SHARED, &invitation(), 0o600).unwrap();
    let settings = config.authority(Arc::new(OsEntropy));
    let StoreSettings::Postgres { invitation, .. } = settings.store else {
        panic!("{settings:?}");
    };
    assert_eq!(invitation.unwrap().replica(), "b");
    assert!(!format!("{config:?}").contains("0a0a"), "{config:?}");
}

#[test]
fn file_that_holds_no_invitation_is_refused() {
    let alone = joins("", &invitation(), 0o600).unwrap_err();
    assert_eq!(alone.code, "join_without_database");
    let long = " ".repeat(4_096) + &invitation();
    for (text, mode, why) in [
        (invitation(), 0o640, "chmod 600"),
        (long, 0o600, "longer than 4096"),
        ("0a".repeat(32), 0o600, "not an invitation"),
        (String::new(), 0o600, "not an invitation"),
    ] {
        let refused = joins(SHARED, &text, mode).unwrap_err();
        assert_eq!(refused.code, "invitation_file", "{why}");
        assert!(refused.message.contains(why), "{refused}");
        assert!(refused.message.contains("b.invitation"), "{refused}");
        assert!(!refused.to_string().contains("0a0a"), "{refused}");
    }
}

#[test]
fn advertised_address_is_one_that_can_be_dialled() {
    let with = |address: &str| {
        let of = SHARED;
        format!("trust_domain = \"example.org\"\n[api]\nadvertise = \"{address}\"\n{of}")
    };
    let read_as = |address: &str| read(&with(address)).unwrap().api.advertise;
    assert_eq!(read_as("https://CP-B").as_deref(), Some("https://cp-b:443"));
    for (address, problem) in [
        (
            "https://cp-b:65536",
            "port that is not a number from 1 to 65535",
        ),
        ("https://cp-b:0", "port that is not a number"),
        ("https://:8443", "names no host"),
        (
            "https://127.1:8443",
            "neither a name of the DNS nor an IP address",
        ),
        ("http://cp-b:8443", "does not begin with https://"),
        ("https://u@cp-b:8443", "user information"),
    ] {
        let mistakes = read(&with(address)).expect_err(address).mistakes;
        let [mistake] = &mistakes[..] else {
            panic!("{address}: {mistakes:?}");
        };
        assert_eq!(mistake.key, "api.advertise");
        assert!(mistake.problem.contains(problem), "{}", mistake.problem);
        assert!(
            mistake.remedy.contains("https://cp-b:8443"),
            "{}",
            mistake.remedy
        );
    }
}
