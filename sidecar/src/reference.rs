//! The pages of the reference that this crate knows.

use std::sync::Arc;

use countersign_discovery::NackReason;
use countersign_reference::{keys, metrics, other_defaults, page, written};
use countersign_serve::places::{Bounds, Places, Surplus};
use countersign_serve::tls::HandshakeError;
use countersign_serve::{Counters, ListenerSeries};
use countersign_telemetry::LogSeries;

use crate::Config;
use crate::holdings::{Held, Holdings, Snapshot};
use crate::pki::{Authority, now, right, serial};
use crate::sds::SdsMetrics;
use crate::telemetry::{Departure, Metrics, Side, WokenSeries};

const KEYS: &str = "# Configuration of the sidecar

Every key of `sidecar.toml`. The file is TOML; it is read once, when the daemon starts, so every change
needs a restart. `countersign-sidecar run` reads `/etc/countersign/sidecar.toml`, or the file that
`--config` names.

`countersign-sidecar config check` reads the file without starting anything and reports every mistake at
once. `config check --effective` prints each key with its value and where that came from
([how](../operations.md#what-a-configuration-says)). A key that is not here is a mistake.

Durations are a number and a unit, `d`, `h`, `m`, `s` or `ms`, larger units first: `90s`, `1h30m`. Relative
paths begin at the folder of the file. The least file that starts:

```toml
trust_domain = \"example.org\"
[control_plane]
address = \"https://control-plane.example.org:8443\"
bundle = \"bundle.pem\"
[attestation]
method = \"join_token\"
```
";

#[test]
fn page_of_the_keys_follows_the_code() {
    page("sidecar.md", &format!("{KEYS}\n{}", keys(&Config::keys())));
}

#[test]
fn page_tells_the_defaults_that_hold() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sidecar.toml");
    let (_, least) = KEYS.split_once("```toml\n").unwrap();
    std::fs::write(&file, least.trim_end().trim_end_matches("```")).unwrap();
    let (_, settings) = Config::load_with_settings(&file).unwrap();
    let page = written("sidecar.md");
    assert_eq!(other_defaults(&page, folder.path(), &settings), [""; 0]);
}

const METRICS: &str = "# Metrics of the sidecar

What `/metrics` of a sidecar tells, at [`telemetry.listen`](sidecar.md#telemetry): OpenMetrics text, which
Prometheus reads ([paths](endpoints.md)). Times are Unix timestamps in seconds, so a stopped process shows no
countdown that stands still. Series with the label `spiffe_id` are there only with
`telemetry.identity_labels`. A series with labels appears when it is first counted. When to be alarmed:
[operations](../operations.md#metrics-of-a-sidecar).
";

/// Labels whose values are no fixed set.
const OPEN: &[(&str, &str)] = &[
    ("reason", "a word for the reason"),
    (
        "countersign_tls_handshakes result",
        "`ok`, or a word for the reason",
    ),
    ("spiffe_id", "a SPIFFE ID"),
    (
        "listener",
        "`workload_api`, `status`, or the table of the configuration, as `inbound[0]`",
    ),
];

#[test]
fn page_of_the_metrics_follows_the_code() {
    page(
        "sidecar-metrics.md",
        &format!("{METRICS}\n{}", metrics(&everything(), OPEN)),
    );
}

/// A scrape in which everything was counted once.
fn everything() -> String {
    let (sds, counters) = (SdsMetrics::default(), Arc::<Counters>::default());
    sds.refused(NackReason::Other);
    counters.handshake_failed(&HandshakeError::Deadline);
    take_places(&counters);
    let metrics = Metrics::with(true, |registry| {
        sds.register(registry);
        let listeners = ListenerSeries::of([("inbound[0]", counters)]);
        registry.register_collector(Box::new(listeners));
        registry.register_collector(Box::new(LogSeries));
        registry.register_collector(Box::new(WokenSeries(Holdings::new())));
    });
    for side in [Side::Inbound, Side::Outbound] {
        metrics.handshake(side, "ok");
        metrics.connections(side, 1);
    }
    metrics.refusal(&"inbound[0]".into(), "no_identity");
    metrics.renewal(true);
    metrics.renewal(false);
    metrics.failed_over(Departure::Silent);
    let entitlement = Arc::new(right('1', "/web", 1));
    let held = Held {
        svid: Some(Authority::new("root").svid(&entitlement.spiffe_id, serial(1))),
        entitlement: Arc::clone(&entitlement),
        problem: None,
    };
    let snapshot = Snapshot {
        entries: Arc::new([(entitlement.id.clone(), held)].into()),
        ..Snapshot::default()
    };
    metrics.encode(&Arc::new(snapshot), now())
}

/// Makes room of every kind.
fn take_places(counters: &Counters) {
    for occupancy in [
        &counters.handshakes,
        &counters.strangers,
        &counters.connections,
    ] {
        let bounds = Bounds {
            total: 1,
            each: 1,
            surplus: Surplus::Refused,
        };
        drop(Places::observed(bounds, Arc::clone(occupancy)));
    }
}
