//! Figures of one run: printed for people, or as JSON lines.

use std::time::Duration;

use serde::Serialize;

/// Where figures go.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// One JSON object a line instead of text.
    pub json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    what: &'a str,
    value: f64,
    unit: &'a str,
}

impl Report {
    /// A heading.
    #[allow(clippy::print_stdout, reason = "a benchmark reports on stdout")]
    pub fn title(self, title: &str) {
        if !self.json {
            println!("\n{title}");
        }
    }

    /// One figure.
    #[allow(clippy::print_stdout, reason = "a benchmark reports on stdout")]
    pub fn figure(self, what: &str, value: f64, unit: &str) {
        if self.json {
            let line = serde_json::to_string(&Line { what, value, unit });
            println!("{}", line.unwrap_or_default());
        } else {
            println!("  {what:<58} {value:>10.2} {unit}");
        }
    }

    /// A duration in microseconds.
    pub fn micros(self, what: &str, time: Duration) {
        self.figure(what, time.as_secs_f64() * 1e6, "µs");
    }
}

/// The value at a share of the way through, such as 0.5 for the median. Of nothing: zero.
pub fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let place = (times.len().saturating_sub(1) as f64 * share).round() as usize;
    times.get(place).copied().unwrap_or_default()
}

/// The median of ratios.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
