//! Metrics, from what a scrape shows of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Table, code, plain};

/// One metric: how it is described, and what labels its samples have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    help: String,
    unit: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// The table of the metrics that an OpenMetrics text shows. `open` says in words what a label holds
/// whose values are no fixed set: by its name, or behind the name of one metric and a space.
pub fn metrics(text: &str, open: &[(&str, &str)]) -> String {
    let mut table = Table::new(["Metric", "Kind", "Unit", "Labels", "What it says"]);
    for (name, mut metric) in read(text) {
        if metric.unit.is_empty() && name.ends_with("_seconds") {
            metric.unit.push_str("seconds");
        }
        let labels = metric.labels.iter();
        let labels: Vec<_> = labels
            .map(|(label, values)| label_cell((&name, label), values, open))
            .collect();
        let name = match metric.kind.as_str() {
            "counter" => format!("{name}_total"),
            _ => name,
        };
        table.row(&[
            code(&name),
            metric.kind,
            metric.unit,
            labels.join("; "),
            plain(&metric.help) + ".",
        ]);
    }
    table.finish()
}

/// The metrics of a scrape that a page has not, or has with other labels.
pub fn unlisted(page: &str, scrape: &str) -> Vec<String> {
    let row = |name: &str| {
        page.lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")))
    };
    let mut unlisted = Vec::new();
    for (name, metric) in read(scrape) {
        let row = row(&name).or_else(|| row(&format!("{name}_total")));
        let is_listed = row.is_some_and(|row| {
            let has_label = |label: &String| row.contains(&format!("`{label}`"));
            row.contains(&metric.kind) && metric.labels.keys().all(has_label)
        });
        if !is_listed {
            unlisted.push(name);
        }
    }
    unlisted
}

fn label_cell(
    (metric, label): (&str, &str),
    values: &BTreeSet<String>,
    open: &[(&str, &str)],
) -> String {
    let words = open.iter().find(|(open, _)| match open.split_once(' ') {
        None => *open == label,
        Some(of_one) => of_one == (metric, label),
    });
    let values: Vec<_> = values.iter().map(|value| code(value)).collect();
    match words {
        Some((_, words)) => format!("`{label}`: {words}"),
        None => format!("`{label}`: {}", values.join(", ")),
    }
}

/// By name, without the ending of a counter. The bound of a bucket is no label of its own.
fn read(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::<String, Metric>::new();
    let mut newest = String::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                name.clone_into(&mut newest);
                let metric = metrics.entry(newest.clone()).or_default();
                metric.help = help.trim_end_matches('.').to_owned();
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                kind.clone_into(&mut metrics.entry(name.to_owned()).or_default().kind);
            }
            (Some("#"), Some("UNIT"), Some(name), Some(unit)) => {
                unit.clone_into(&mut metrics.entry(name.to_owned()).or_default().unit);
            }
            _ if line.starts_with('#') || newest.is_empty() => {}
            _ => {
                let metric = metrics.entry(newest.clone()).or_default();
                for (label, value) in labels(line) {
                    metric.labels.entry(label).or_default().insert(value);
                }
            }
        }
    }
    metrics
}

fn labels(sample: &str) -> Vec<(String, String)> {
    let Some((_, labels)) = sample.split_once('{') else {
        return Vec::new();
    };
    let (labels, _) = labels.rsplit_once('}').unwrap_or_default();
    let pairs = labels
        .split("\",")
        .filter_map(|pair| pair.split_once("=\""));
    let pairs = pairs.filter(|(label, _)| *label != "le");
    let whole =
        |(label, value): (&str, &str)| (label.to_owned(), value.trim_end_matches('"').to_owned());
    pairs.map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "# HELP c_asked Calls.\n# TYPE c_asked counter\n\
        c_asked_total{result=\"ok\",who=\"a\"} 1\nc_asked_total{result=\"no\",who=\"b\"} 2\n\
        # HELP c_wait_seconds Waits.\n# TYPE c_wait_seconds histogram\n# UNIT c_wait_seconds seconds\n\
        c_wait_seconds_bucket{le=\"1.0\"} 1\n# EOF\n";

    #[test]
    fn table_tells_kind_unit_and_labels() {
        let table = metrics(SCRAPE, &[("who", "a name")]);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `c_asked_total` | counter |  | `result`: `no`, `ok`; `who`: a name | Calls. |",
                "| `c_wait_seconds` | histogram | seconds |  | Waits. |",
            ]
        );
        assert_eq!(unlisted(&table, SCRAPE), [""; 0]);
        let more = SCRAPE.replace("who=", "whom=");
        assert_eq!(unlisted(&table, &more), ["c_asked"]);
        let more = SCRAPE.replace("c_wait", "c_work");
        assert_eq!(unlisted(&table, &more), ["c_work_seconds"]);
    }
}
