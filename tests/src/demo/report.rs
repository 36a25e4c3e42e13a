//! What the demo found, and its verdict.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::load::Tally;

/// The one object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) tally: Tally,
    /// Leaf renewals installed.
    pub(super) rotations: usize,
    /// The CAs that were replaced, in the order in which it was done.
    pub(super) replaced: Vec<&'static str>,
    /// Whether a signal ended it before its time.
    pub(super) interrupted: bool,
    /// Where the page of pictures is.
    pub(super) page: Option<PathBuf>,
    /// Certificates seen in handshakes.
    pub(super) distinct_serials_seen: usize,
    pub(super) propagation_ms: Propagation,
    #[serde(skip)]
    pub(super) reasons: Vec<String>,
}

/// How the run came to its end.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) replaced: Vec<&'static str>,
    pub(super) interrupted: bool,
    /// Where the page of pictures was written.
    pub(super) page: Option<PathBuf>,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    NothingLost,
    Lost,
    /// Nothing was lost until then.
    Interrupted,
}

/// From the issue of a certificate to its first handshake, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Propagation {
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl Propagation {
    /// By serial: when issued, and when first seen at each endpoint.
    pub(super) fn between(
        issued: &BTreeMap<String, Timestamp>,
        seen: &[BTreeMap<String, Timestamp>],
    ) -> Self {
        let sightings = seen.iter().flatten();
        let mut samples: Vec<_> = sightings
            .filter_map(|(serial, at)| Some(at.duration_since(*issued.get(serial)?)))
            .map(|took| took.as_secs_f64() * 1_000.0)
            .collect();
        samples.sort_by(f64::total_cmp);
        Self {
            p50: rank(&samples, 50),
            p99: rank(&samples, 99),
        }
    }
}

/// The nearest-rank percentile of sorted samples.
fn rank(samples: &[f64], percent: usize) -> Option<f64> {
    let rank = (samples.len() * percent).div_ceil(100);
    let sample = samples.get(rank.checked_sub(1)?)?;
    Some((sample * 10.0).round() / 10.0)
}

impl Report {
    /// A run to its end needs something to lose, and rotations that could lose it.
    pub(super) fn verdict(&self) -> Verdict {
        let tested = self.tally.requests_ok > 0 && self.rotations > 0;
        match (self.tally.is_lossless(), self.interrupted) {
            (false, _) => Verdict::Lost,
            (true, true) => Verdict::Interrupted,
            (true, false) if tested => Verdict::NothingLost,
            (true, false) => Verdict::Lost,
        }
    }

    fn rotations(&self) -> String {
        let mut rotations = vec![format!("{} renewals", self.rotations)];
        rotations.extend(self.replaced.iter().map(|what| format!("the {what}")));
        rotations.join(", ")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            requests_ok,
            requests_failed,
            connections_opened,
            connections_dropped,
        } = self.tally;
        let millis = |it: Option<f64>| it.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        writeln!(
            f,
            "requests            {requests_ok} answered, {requests_failed} failed"
        )?;
        writeln!(
            f,
            "connections         {connections_opened} opened, {connections_dropped} dropped"
        )?;
        writeln!(f, "rotations           {}", self.rotations())?;
        writeln!(
            f,
            "serials             {} seen in handshakes",
            self.distinct_serials_seen
        )?;
        let Propagation { p50, p99 } = self.propagation_ms;
        writeln!(
            f,
            "issued to served    p50 {}, p99 {}",
            millis(p50),
            millis(p99)
        )?;
        if let Some(page) = &self.page {
            writeln!(f, "pictures            {}", page.display())?;
        }
        for reason in &self.reasons {
            writeln!(f, "  {reason}")?;
        }
        f.write_str(match self.verdict() {
            Verdict::NothingLost => "nothing was lost",
            Verdict::Lost => "something was lost",
            Verdict::Interrupted => "interrupted; until then nothing was lost",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let samples: Vec<_> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (rank(&samples, 50), rank(&samples, 99)),
            (Some(50.0), Some(99.0))
        );
        assert_eq!((rank(&[7.25], 99), rank(&[], 50)), (Some(7.3), None));
    }

    #[test]
    fn propagation_pairs_issue_and_first_sight() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let issued = [("a".to_owned(), at(1_000)), ("b".to_owned(), at(2_000))].into();
        let seen = [[
            ("a".to_owned(), at(1_030)),
            ("unknown".to_owned(), at(9_000)),
        ]
        .into()];
        let expected = Propagation {
            p50: Some(30.0),
            p99: Some(30.0),
        };
        assert_eq!(Propagation::between(&issued, &seen), expected);
    }
}
