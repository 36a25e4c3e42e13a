//! Environment variables: a table, held against what the sources ask for.

use countersign_reference::{Table, code, page, plain};

use crate::rules::source::production;

const HEAD: &str = "# Environment variables

Every variable that the three programs read. No key of a configuration can be set by one.
";

/// Asked for by our own sources: name, program, meaning.
const OURS: &[(&str, &str, &str)] = &[
    (
        "COUNTERSIGN_ADMIN_SOCKET",
        "`countersign`",
        "The admin socket of the control plane, where `--admin-socket` does not name it.",
    ),
    (
        "SPIFFE_ENDPOINT_SOCKET",
        "`countersign`",
        "`envoy bootstrap`: the socket of the sidecar, where `--socket` does not name it. Clients of the \
         Workload API read it too.",
    ),
    (
        "NO_COLOR",
        "all three",
        "Not empty: errors and tables have no colours on a terminal either.",
    ),
    (
        "NOTIFY_SOCKET",
        "both daemons",
        "The socket of the service manager, which is told when the daemon serves, lives and ends. systemd \
         sets it.",
    ),
    (
        "WATCHDOG_USEC",
        "both daemons",
        "Within how many microseconds the service manager wants a sign of life. systemd sets it.",
    ),
    (
        "WATCHDOG_PID",
        "both daemons",
        "Of which process it wants that. systemd sets it.",
    ),
];

/// Asked for by libraries that the programs are built of.
const OF_LIBRARIES: &[(&str, &str, &str)] = &[
    (
        "COLUMNS",
        "all three",
        "The width that `--help` is folded to, and tables of `countersign`; otherwise that of the terminal.",
    ),
    (
        "OTEL_RESOURCE_ATTRIBUTES",
        "both daemons",
        "With `telemetry.otlp_endpoint`: attributes of the exported traces, as `name=value,…`.",
    ),
    (
        "OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "both daemons",
        "With `telemetry.otlp_endpoint`: headers of each export, such as a token of the collector.",
    ),
    (
        "OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG",
        "both daemons",
        "With `telemetry.otlp_endpoint`: which share of traces is kept; all of them if it is not set.",
    ),
    (
        "OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "both daemons",
        "With `telemetry.otlp_endpoint`: how many spans wait, for how many milliseconds, and how many go at once.",
    ),
];

fn row(table: &mut Table, (names, programs, meaning): &(&str, &str, &str)) {
    let names: Vec<_> = names.split(", ").map(code).collect();
    table.row(&[names.join(", "), (*programs).to_owned(), plain(meaning)]);
}

#[test]
fn page_of_the_environment_follows_the_code() {
    let mut text = HEAD.to_owned();
    for (title, rows) in [("Ours", OURS), ("Of libraries", OF_LIBRARIES)] {
        let mut table = Table::new(["Variable", "Program", "What it does"]);
        rows.iter().for_each(|it| row(&mut table, it));
        text += &format!("\n## {title}\n\n{}", table.finish());
    }
    page("environment.md", &text);
}

/// Names that look like a variable and are asked of the environment.
#[test]
fn every_variable_of_the_sources_is_listed() {
    let sources = production();
    let asking: Vec<_> = sources
        .iter()
        .filter(|it| it.text.contains("var_os(") || it.text.contains("env::var("))
        .collect();
    assert!(asking.len() > 1, "nothing asks the environment?");
    let mut found = Vec::new();
    for source in &asking {
        let pieces: Vec<_> = source.text.split('"').collect();
        // Asked for by name, or by a constant of the same file.
        let is_asked = |before: &str| {
            ["var_os(", "var(", "&str = "]
                .iter()
                .any(|it| before.ends_with(it))
        };
        let is_name =
            |text: &str| text.len() > 4 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let pairs = pieces.windows(2).step_by(2);
        found.extend(
            pairs
                .filter(|it| is_asked(it[0]) && is_name(it[1]))
                .map(|it| it[1]),
        );
    }
    for name in &found {
        let is_listed = OURS
            .iter()
            .chain(OF_LIBRARIES)
            .any(|(known, ..)| known == name);
        assert!(is_listed, "{name} is not on the page");
    }
    for (name, ..) in OURS {
        assert!(found.contains(name), "nothing asks for {name}");
    }
}
