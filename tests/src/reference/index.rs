//! The first page, and that of the paths that are served over HTTP.

use countersign_reference::{Table, code, page};
use countersign_serve::ops::PATHS;

const INDEX: &str = "# Reference

Made from the code, and held against it by tests.

| Page | What it lists |
|---|---|
| [control-plane.md](control-plane.md) | every key of the control plane's configuration |
| [sidecar.md](sidecar.md) | every key of a sidecar's configuration |
| [environment.md](environment.md) | every environment variable of the three programs |
| [errors.md](errors.md) | every error code, what it means and what mends it |
| [exit-codes.md](exit-codes.md) | how the programs end |
| [endpoints.md](endpoints.md) | probes and metrics over HTTP |
| [control-plane-metrics.md](control-plane-metrics.md) | every metric of the control plane |
| [sidecar-metrics.md](sidecar-metrics.md) | every metric of a sidecar |
| [log-events.md](log-events.md) | every message of the logs, with its fields |
| [rpc.md](rpc.md) | every RPC, who may call it, and its messages |

The commands of `countersign` say what they take with `--help`.
";

const ENDPOINTS: &str = "# Probes and metrics

Both daemons serve these paths over HTTP/1.1 at `telemetry.listen`, on loopback addresses alone: 127.0.0.1:9464
at the control plane and 127.0.0.1:9465 at a sidecar where nothing else is configured. GET and HEAD; one request
a connection. There is no authentication, so no secret is told.
";

const HOSTS: &str = "
A request whose `Host` is `localhost` or a loopback address is told everything. Probes of any other `Host` are
answered with the status and one word. Metrics are for loopback names and for those of `telemetry.hosts`; any
other `Host` gets 421 ([why](../operations.md#connections)). What makes a sidecar unready:
[the sidecar](../sidecar.md#ready-or-not).

| Probe | Kubernetes |
|---|---|
| `/livez` | `livenessProbe` |
| `/readyz` | `readinessProbe`, `startupProbe` |
";

#[test]
fn page_of_the_endpoints_follows_the_code() {
    let mut table = Table::new(["Path", "What it tells"]);
    for (path, tells) in PATHS {
        table.row(&[code(path), tells.to_owned()]);
    }
    page(
        "endpoints.md",
        &format!("{ENDPOINTS}\n{}{HOSTS}", table.finish()),
    );
}

#[test]
fn every_page_is_in_the_index() {
    page("README.md", INDEX);
    let folder = crate::binaries::project().join("docs/reference");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_listed = name == "README.md" || INDEX.contains(&format!("]({name})"));
        assert!(is_listed, "{name} is not in the index");
    }
}
