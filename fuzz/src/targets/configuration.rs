//! The configuration files of both daemons.

use std::path::Path;

use countersign_cli::ConfigError;
use countersign_control_plane::config::Config as ControlPlane;
use countersign_sidecar::Config as Sidecar;

use super::material::texts;

/// Whatever is wrong is said, with a remedy, on as many lines as there are mistakes: nothing of a
/// file reaches a terminal as control characters.
pub fn run(data: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("file.toml");
    std::fs::write(&file, data).expect("the folder is ours");
    let control_plane = are_told(ControlPlane::read(&file), &file);
    let sidecar = are_told(Sidecar::load(&file), &file);
    assert!(!(control_plane && sidecar), "no file is of both");
    control_plane || sidecar
}

fn are_told<T>(read: Result<T, ConfigError>, file: &Path) -> bool {
    let Err(error) = read else {
        return true;
    };
    assert_eq!(error.file, file);
    assert!(
        error
            .mistakes
            .iter()
            .all(|mistake| !mistake.remedy.is_empty())
    );
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1 + error.mistakes.len(), "{text:?}");
    assert!(
        !text.chars().any(|it| it.is_control() && it != '\n'),
        "{text:?}"
    );
    false
}

/// As short as may be, and with most of what may be said.
pub fn seeds() -> Vec<Vec<u8>> {
    texts(&["trust_domain = \"example.org\"", CONTROL_PLANE, SIDECAR])
}

const CONTROL_PLANE: &str = r#"
trust_domain = "example.org"
data_dir = "./cp"
[api]
listen = "127.0.0.1:8443"
[log]
filter = "info"
[svid]
x509_ttl = "1h"
renew_at = 0.5
[ca]
intermediate = true
issuing_ttl = "1d"
[ca.keys]
issuing = "memory"
[admission]
max_queued = 100
[[policy.rule]]
name = "web-nodes"
nodes = ["/node/*"]
ids = ["/web/**", "/web"]
dns = ["*.example.org"]
max_ttl = "1h"
"#;

const SIDECAR: &str = r#"
trust_domain = "example.org"
state_dir = "./sidecar-state"
[control_plane]
addresses = ["https://127.0.0.1:8443", "https://cp-b.example:8443"]
bundle = "./bundle.pem"
[attestation]
method = "join_token"
token_file = "./token"
[workload_api]
socket = "./sidecar.sock"
[[inbound]]
listen = "0.0.0.0:15006"
forward = "127.0.0.1:8080"
identity = "spiffe://example.org/web"
allow = ["spiffe://example.org/client"]
"#;
