//! The pages of the reference that this crate knows.

use std::sync::Arc;
use std::time::Duration;

use countersign_admission::{Class, Reason};
use countersign_authority::{IssuanceSeries, Phase, StoreKind};
use countersign_discovery::NackReason;
use countersign_keys::Stores;
use countersign_reference::{keys, metrics, other_defaults, page, written};
use countersign_serve::Counters;
use countersign_serve::places::{Bounds, Places, Surplus};
use countersign_serve::tls::HandshakeError;
use jiff::Timestamp;

use crate::config::Config;
use crate::telemetry::{Levels, Metrics, Outcome};

const KEYS: &str = "# Configuration of the control plane

Every key of `control-plane.toml`. The file is TOML; it is read once, when the daemon starts, so every
change needs a restart. `countersign-control-plane run` reads `/etc/countersign/control-plane.toml`, or the
file that `--config` names.

`countersign-control-plane config check` reads the file without starting anything and reports every mistake
at once. `config check --effective` prints each key with its value and where that came from
([how](../operations.md#what-a-configuration-says)). A key that is not here is a mistake.

Durations are a number and a unit, `d`, `h`, `m`, `s` or `ms`, larger units first: `90s`, `1h30m`. Relative
paths begin at the folder of the file. The least file that starts:

```toml
trust_domain = \"example.org\"
```
";

#[test]
fn page_of_the_keys_follows_the_code() {
    page(
        "control-plane.md",
        &format!("{KEYS}\n{}", keys(&Config::keys())),
    );
}

#[test]
fn page_tells_the_defaults_that_hold() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control-plane.toml");
    std::fs::write(&file, "trust_domain = \"example.org\"").unwrap();
    let (_, settings) = Config::read_with_settings(&file).unwrap();
    let page = written("control-plane.md");
    assert_eq!(other_defaults(&page, folder.path(), &settings), [""; 0]);
    let wrong = page.replace("`127.0.0.1:8443`", "`127.0.0.1:8444`");
    let found = other_defaults(&wrong, folder.path(), &settings);
    assert_eq!(found, ["api.listen"], "a wrong page is found");
}

const METRICS: &str = "# Metrics of the control plane

What `/metrics` of the control plane tells, at [`telemetry.listen`](control-plane.md#telemetry): OpenMetrics
text, which Prometheus reads ([paths](endpoints.md)). Times are Unix timestamps in seconds, so a stopped
process shows no countdown that stands still. No label names a SPIFFE ID, a serial or an address. A series
with labels appears when it is first counted. When to be alarmed: [operations](../operations.md).
";

/// Labels whose values are no fixed set.
const OPEN: &[(&str, &str)] = &[
    ("reason", "a word for the reason"),
    ("store", "a key store: `disk`, `memory` or `pkcs11`"),
];

#[test]
fn page_of_the_metrics_follows_the_code() {
    page(
        "control-plane-metrics.md",
        &format!("{METRICS}\n{}", metrics(&everything(), OPEN)),
    );
}

/// A scrape in which everything was counted once.
fn everything() -> String {
    let metrics = Metrics::default();
    for outcome in [Outcome::Granted, Outcome::Refused, Outcome::Failed] {
        metrics.attested(outcome);
        metrics.enrolled(outcome);
    }
    metrics.nack(NackReason::Other);
    metrics.api.handshake_failed(&HandshakeError::Deadline);
    for (_, counters) in metrics.listeners() {
        take_places(counters);
    }
    for gate in [metrics.signing(), metrics.attesting()] {
        gate.waited(Class::First, Duration::ZERO);
        gate.waited(Class::Renewal, Duration::ZERO);
        gate.refused(Reason::Rate);
    }
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::new(folder.path(), None);
    let key = stores.create(StoreKind::Memory).unwrap();
    drop(stores.load(StoreKind::Memory, key.key_id(), b"another"));
    stores.destroy(StoreKind::Memory, key.key_id()).unwrap();
    let roles = ["root", "intermediate", "issuing"];
    let levels = Levels {
        issued: 0,
        streams: 0,
        registrations: 0,
        nodes: 0,
        certified_keys: 0,
        store_writable: true,
        ca_not_after: roles.map(|role| (role, Timestamp::UNIX_EPOCH)).to_vec(),
        signing: (0, 0),
        attesting: (0, 0),
    };
    metrics.scrape(&levels, |registry| {
        issuance().register(registry);
        stores.register(registry);
    })
}

fn issuance() -> IssuanceSeries {
    let issuance = IssuanceSeries::default();
    for phase in [
        Phase::Attest,
        Phase::Enrol,
        Phase::Authorize,
        Phase::Lint,
        Phase::Log,
        Phase::Sign,
    ] {
        issuance.took(phase, Duration::ZERO);
    }
    issuance
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
