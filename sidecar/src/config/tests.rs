use std::net::SocketAddr;

use countersign_cli::config::Origin;

use super::*;
use countersign_proto::convert::addresses::MAX_ADDRESSES;

const WHOLE: &str = r#"
trust_domain = "example.org"
state_dir = "./sidecar-state"
[control_plane]
address = "https://127.0.0.1:8443"
bundle = "./bundle.pem"
[attestation]
method = "join_token"
token_file = "./token"
[workload_api]
socket = "./sidecar.sock"
[telemetry]
listen = "127.0.0.1:0"
[[inbound]]
listen = "0.0.0.0:15006"
forward = "127.0.0.1:8080"
identity = "spiffe://example.org/web"
allow = ["spiffe://example.org/client"]
[[outbound]]
listen = "127.0.0.1:15001"
connect = "10.0.0.7:15006"
identity = "spiffe://example.org/client"
expect = ["spiffe://example.org/web"]
"#;

fn load(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sidecar.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(&file)
}

/// The keys of all mistakes of a configuration in which some text was replaced.
fn mistakes(replaced: &[(&str, &str)]) -> Vec<String> {
    let mut text = WHOLE.to_owned();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let mistakes = load(&text).unwrap_err().mistakes;
    assert!(
        mistakes.iter().all(|m| !m.remedy.is_empty()),
        "{mistakes:?}"
    );
    mistakes.into_iter().map(|mistake| mistake.key).collect()
}

#[test]
fn the_documented_file_is_read() {
    let config = load(WHOLE).unwrap();
    assert_eq!(config.trust_domain.as_str(), "example.org");
    assert!(config.state_dir.is_absolute(), "relative to the file");
    assert_eq!(config.control_plane.addresses[0].port(), 8443);
    assert_eq!(config.workload_api.enrol_ahead, 64);
    assert_eq!(config.workload_api.max_strangers, 256);
    assert_eq!(config.log.json, None, "stderr decides");
    let inbound = &config.inbound[0];
    assert_eq!(inbound.forward, SocketAddr::from(([127, 0, 0, 1], 8080)));
    assert_eq!(inbound.attest_callers, AttestCallers::Uid);
    assert_eq!(config.outbound[0].expect[0].path(), "/web");
}

/// The operator's page about listeners.
const LISTENERS: &str = include_str!("../../../docs/listeners.md");

#[test]
fn the_documented_listeners_are_read() {
    let (_, example) = LISTENERS.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let (head, _) = WHOLE.split_once("[[inbound]]").unwrap();
    let config = load(&format!("{head}{example}")).unwrap();
    assert_eq!((config.inbound.len(), config.outbound.len()), (1, 1));
    assert_eq!(config.outbound[0].connect, config.inbound[0].listen);
}

#[test]
fn every_field_of_a_listener_is_documented() {
    let (_, listeners) = WHOLE.split_once("[[inbound]]").unwrap();
    let fields = listeners.lines().filter_map(|line| line.split_once(" = "));
    for field in fields.map(|(field, _)| field).chain(["attest_callers"]) {
        assert!(LISTENERS.contains(&format!("| `{field}` |")), "{field}");
    }
}

#[test]
fn every_mistake_is_in_one_report() {
    let keys = mistakes(&[
        (
            "trust_domain = \"example.org\"",
            "trust_domain = \"Example.org\"",
        ),
        ("https://127", "http://127"),
        ("\"join_token\"", "\"magic\""),
        ("[\"spiffe://example.org/client\"]", "[]"),
        ("expect = [\"spiffe://example.org/web\"]", "surprise = 1"),
    ]);
    for key in [
        "trust_domain",
        "control_plane.address",
        "attestation.method",
        "inbound[0].allow",
        "outbound[0].expect",
        "outbound[0].surprise",
    ] {
        assert!(keys.iter().any(|k| k == key), "{key} in {keys:?}");
    }
}

#[test]
fn identities_are_workloads_of_the_trust_domain() {
    for id in [
        "spiffe://example.org",
        "spiffe://elsewhere.org/web",
        "spiffe://example.org/countersign/control-plane",
        "spiffe://example.org/*",
        "web",
    ] {
        let quoted = format!("\"{id}\"");
        let identity = mistakes(&[(
            "identity = \"spiffe://example.org/web\"",
            &format!("identity = {quoted}"),
        )]);
        assert_eq!(identity, ["inbound[0].identity"], "{id}");
        let peers = mistakes(&[("[\"spiffe://example.org/web\"]", &format!("[{quoted}]"))]);
        assert_eq!(peers, ["outbound[0].expect[0]"], "{id}");
    }
}

#[test]
fn two_listeners_cannot_share_an_address() {
    let keys = mistakes(&[("127.0.0.1:15001", "127.0.0.1:15006")]);
    assert_eq!(keys, ["outbound[0].listen"], "the wildcard takes it");
    let keys = mistakes(&[("127.0.0.1:0", "127.0.0.1:15001")]);
    assert_eq!(keys, ["outbound[0].listen"]);
    let second = "[[inbound]]\nlisten = \"127.0.0.1:15001\"\n[[outbound]]";
    let keys = mistakes(&[("[[outbound]]", second)]);
    assert!(keys.contains(&"outbound[0].listen".to_owned()), "{keys:?}");
}

#[test]
fn only_loopback_can_be_attested_by_uid() {
    let forward = [(
        "forward = \"127.0.0.1:8080\"",
        "forward = \"10.0.0.1:8080\"",
    )];
    assert_eq!(mistakes(&forward), ["inbound[0].forward"]);
    let listen = [("127.0.0.1:15001", "0.0.0.0:15001")];
    assert_eq!(mistakes(&listen), ["outbound[0].listen"]);
    let own_namespace = WHOLE
        .replace("127.0.0.1:15001", "0.0.0.0:15001")
        .replace("state_dir", "attest_callers = \"netns\"\nstate_dir");
    let config = load(&own_namespace).unwrap();
    assert_eq!(config.inbound[0].attest_callers, AttestCallers::Netns);
}

#[test]
fn a_listener_overrides_the_file() {
    let text = WHOLE.replace(
        "[[outbound]]\n",
        "[[outbound]]\nattest_callers = \"netns\"\n",
    );
    let config = load(&text).unwrap();
    assert_eq!(config.inbound[0].attest_callers, AttestCallers::Uid);
    assert_eq!(config.outbound[0].attest_callers, AttestCallers::Netns);
}

#[test]
fn telemetry_stays_on_loopback() {
    assert_eq!(
        mistakes(&[("127.0.0.1:0", "0.0.0.0:9464")]),
        ["telemetry.listen"]
    );
}

#[test]
fn strangers_have_a_place_and_no_more_than_there_are() {
    for count in ["0", "16385", "\"many\""] {
        let with = format!("[workload_api]\nmax_strangers = {count}\n");
        let found = mistakes(&[("[workload_api]\n", &with)]);
        assert_eq!(found, ["workload_api.max_strangers"], "{count}");
    }
}

#[test]
fn metrics_hosts_are_names_without_ports() {
    let with = |hosts: &str| {
        let listed = format!("[telemetry]\nhosts = {hosts}\n");
        mistakes(&[("[telemetry]\n", &listed)])
    };
    assert_eq!(with(r#"["10.0.0.7:9464"]"#), ["telemetry.hosts[0]"]);
    assert_eq!(with("[]"), ["telemetry.hosts"]);
    let many = format!("{:?}", vec!["a"; 17]);
    assert_eq!(with(&many), ["telemetry.hosts"]);
    let text = WHOLE.replace("[telemetry]\n", "[telemetry]\nhosts = [\"Node-7\"]\n");
    assert_eq!(load(&text).unwrap().telemetry.hosts, ["node-7"]);
    assert!(load(WHOLE).unwrap().telemetry.hosts.is_empty());
}

#[test]
fn an_address_is_https_host_and_port() {
    for address in [
        "127.0.0.1:8443",
        "http://127.0.0.1:8443",
        "https://user@127.0.0.1:8443",
        "https://127.0.0.1:8443/api",
        "https://127.0.0.1:8443?a=b",
        "https://127.0.0.1:65536",
        "https://127.0.0.1:0",
        "https://:8443",
        "https://127.1:8443",
        "",
    ] {
        let keys = mistakes(&[("https://127.0.0.1:8443", address)]);
        assert_eq!(keys, ["control_plane.address"], "{address}");
    }
}

const ADDRESS_LINE: &str = "address = \"https://127.0.0.1:8443\"";

#[test]
fn several_addresses_are_a_list() {
    let written = |text: &str| WHOLE.replace(ADDRESS_LINE, text);
    let two = written(r#"addresses = ["https://a.example:1", "https://[::1]:2"]"#);
    let hosts: Vec<_> = load(&two).unwrap().control_plane.addresses;
    let hosts: Vec<_> = hosts.iter().map(|it| it.host().to_string()).collect();
    assert_eq!(hosts, ["a.example", "[::1]"]);
    let each = |count| -> Vec<_> { (1..=count).map(|n| format!("https://a:{n}")).collect() };
    let most = written(&format!("addresses = {:?}", each(MAX_ADDRESSES)));
    let most = load(&most).unwrap().control_plane.addresses;
    assert_eq!(most.len(), MAX_ADDRESSES);
    let many = format!("addresses = {:?}", each(MAX_ADDRESSES + 1));
    for (text, key) in [
        ("addresses = []", "control_plane.addresses"),
        (&*many, "control_plane.addresses"),
        (
            r#"addresses = ["https://a:1", "b:2"]"#,
            "control_plane.addresses[1]",
        ),
        (r#"addresses = "https://a:1""#, "control_plane.addresses"),
        (r#"address = ["https://a:1"]"#, "control_plane.address"),
        ("address = 8443", "control_plane.address"),
    ] {
        assert_eq!(mistakes(&[(ADDRESS_LINE, text)]), [key], "{text}");
    }
}

#[test]
fn address_and_addresses_exclude_each_other() {
    let both = format!("{ADDRESS_LINE}\naddresses = [\"https://a:1\"]");
    assert_eq!(
        mistakes(&[(ADDRESS_LINE, &both)]),
        ["control_plane.addresses"]
    );
    assert_eq!(mistakes(&[(ADDRESS_LINE, "")]), ["control_plane.address"]);
}

#[test]
fn no_address_is_named_twice() {
    for twice in [
        r#"addresses = ["https://a:8443", "https://b:8443", "https://A:8443"]"#,
        r#"addresses = ["https://a", "https://a:443"]"#,
    ] {
        let keys = mistakes(&[(ADDRESS_LINE, twice)]);
        assert_eq!(keys, ["control_plane.addresses"], "{twice}");
    }
}

#[test]
fn every_key_tells_its_value_and_origin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sidecar.toml");
    std::fs::write(&file, WHOLE).unwrap();
    let (config, settings) = Config::load_with_settings(&file).unwrap();
    let of = |key: &str| settings.iter().find(|it| it.key == key).unwrap();
    let told = |key| (of(key).value.clone().unwrap(), of(key).origin);
    assert_eq!(
        told("inbound[0].listen"),
        ("0.0.0.0:15006".into(), Origin::File)
    );
    assert_eq!(
        told("inbound[0].attest_callers"),
        ("uid".into(), Origin::Default)
    );
    assert_eq!(told("outbound"), (1.into(), Origin::File));
    assert_eq!(told("drain_timeout"), ("10s".into(), Origin::Default));
    let (socket, _) = told("workload_api.socket");
    assert_eq!(
        Path::new(socket.as_str().unwrap()),
        config.workload_api.socket
    );
    let read: Vec<_> = settings
        .iter()
        .map(|it| it.key.replace("[0]", "[]"))
        .collect();
    let surveyed: Vec<_> = Config::keys().into_iter().map(|it| it.key).collect();
    assert_eq!(read, surveyed);
}

#[test]
fn the_least_file_has_defaults() {
    let config = load(
        "trust_domain = \"example.org\"\n\
         control_plane = { address = \"https://cp.example:8443\" }\n\
         attestation = { method = \"join_token\" }\n",
    )
    .unwrap();
    assert_eq!(config.telemetry.listen.to_string(), "127.0.0.1:9465");
    assert!(config.workload_api.socket.ends_with("sidecar.sock"));
    assert!(config.inbound.is_empty() && config.outbound.is_empty());
}
