//! What is so at the end of every story of several control planes, whatever befell them: no request failed, every
//! certificate has exactly one entry of an issuance log, nobody had an older one after a newer one, and the logs
//! are sound, judged together.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use countersign_tests::load::Tally;
use countersign_tests::{Command, wait};
use countersign_tests_postgres::Url;
use serde_json::Value;

use crate::measured;
use crate::scene::{Scene, Traffic};

/// Most entries that `countersign audit tail` shows at once.
const MOST_ENTRIES: &str = "100000";

/// Where an entry is: the id of its log, and its index.
type Place = (u32, u64);

/// Judges what a scene has done.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) scene: &'a Scene,
    /// How the test reaches the database.
    pub(crate) url: &'a Url,
}

impl Judge<'_> {
    /// Ends the traffic. Fails where a request failed, a certificate has not exactly one entry, or a consumer
    /// had an older one after a newer one; and where the logs are not sound, judged together.
    pub(crate) async fn nothing_was_lost(self, traffic: Traffic) -> Result<Tally> {
        let (web, client) = (traffic.web.clone(), traffic.client.clone());
        let presented = traffic.seen.clone();
        let tally = traffic.lost_nothing().await?;
        let histories = [web.history(), client.history(), presented.history()];
        let mut seen: BTreeSet<_> = histories.iter().flatten().cloned().collect();
        for envoy in &self.scene.envoys {
            ensure!(
                envoy.statistic(".update_rejected").await? == 0,
                "a secret was refused"
            );
            seen.extend(envoy.peer_serials());
        }
        self.each_has_one_entry(&seen).await?;
        let order = self.order_of_commits()?;
        for history in &histories {
            never_goes_back(history, &order)?;
        }
        self.logs_are_sound(&Command::operator()?).await?;
        let renewals: Vec<_> = histories.iter().map(|history| history.len() - 1).collect();
        measured(&format!(
            "requests {}, failed {}; connections {}, dropped {}; renewals {renewals:?}; {} serials seen, \
             {} entries",
            tally.requests_ok,
            tally.requests_failed,
            tally.connections_opened,
            tally.connections_dropped,
            seen.len(),
            order.len()
        ));
        Ok(tally)
    }

    /// Of every log, in the order of the control planes.
    fn logs(self) -> Vec<String> {
        let all = self.scene.mesh.control_planes().into_iter();
        let folders = all.map(|plane| plane.data_dir().join("log"));
        folders
            .map(|folder| folder.to_string_lossy().into_owned())
            .collect()
    }

    /// What `countersign audit tail` tells of all logs, but for what was taken back and what takes back.
    pub(crate) async fn entries(self) -> Result<Vec<Value>> {
        let mut standing = Vec::new();
        for log in self.logs() {
            let tail = ["audit", "tail", "-n", MOST_ENTRIES, "--log", &log];
            let told = Command::operator()?.json(&tail).await?;
            let entries = told["items"].as_array().context("a list")?;
            let taken_back = entries.iter().filter_map(|it| it["takes_back"].as_str());
            let taken_back: BTreeSet<_> = taken_back.collect();
            let stands = |it: &&Value| {
                let index = it["index"].to_string();
                it["kind"] != "voided" && !taken_back.contains(index.as_str())
            };
            standing.extend(entries.iter().filter(stands).cloned());
        }
        Ok(standing)
    }

    /// Waits until every certificate that was seen is published in a log; it is in no second one.
    async fn each_has_one_entry(self, seen: &BTreeSet<String>) -> Result<()> {
        let mut missing = Vec::new();
        let published = wait::until("entries of what was seen", wait::BOUND, async || {
            let entries = self.entries().await.ok()?;
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for serial in entries.iter().filter_map(|entry| entry["serial"].as_str()) {
                let serial = serial.trim_start_matches('0').to_owned();
                *counts.entry(serial).or_default() += 1;
            }
            let absent = seen.iter().filter(|serial| !counts.contains_key(*serial));
            missing = absent.cloned().collect();
            missing.is_empty().then_some(counts)
        });
        let counts = published
            .await
            .with_context(|| format!("{missing:?} have no entry"))?;
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        ensure!(twice.is_empty(), "{twice:?} have several entries");
        Ok(())
    }

    /// At which commit each entry of a log was made.
    fn order_of_commits(self) -> Result<BTreeMap<Place, u64>> {
        let asked = "select log_id, leaf_index, seq from countersign.log_entries";
        let rows = self.url.sql(asked).map_err(anyhow::Error::msg)?;
        let entry = |row: &Vec<String>| {
            let [log, index, seq] = row.as_slice() else {
                anyhow::bail!("three columns, not {row:?}");
            };
            Ok(((log.parse()?, index.parse()?), seq.parse()?))
        };
        rows.iter().map(entry).collect()
    }

    /// By the audit of this program.
    pub(crate) async fn logs_are_sound(self, auditor: &Command) -> Result<()> {
        let logs = self.logs();
        let mut verify = vec!["audit", "verify"];
        verify.extend(logs.iter().map(String::as_str));
        let verdict = auditor.json(&verify).await?;
        ensure!(verdict["sound"] == true, "{verdict}");
        let missing = verdict["missing"].as_array();
        ensure!(missing.is_none_or(Vec::is_empty), "{verdict}");
        Ok(())
    }
}

/// What a consumer had was committed in the order in which it had it.
fn never_goes_back(history: &[String], order: &BTreeMap<Place, u64>) -> Result<()> {
    let committed = |serial: &String| {
        let seq = place(serial).and_then(|place| order.get(&place));
        seq.with_context(|| format!("{serial} is in no log of the database"))
    };
    for pair in history.windows(2) {
        let [before, after] = [committed(&pair[0])?, committed(&pair[1])?];
        ensure!(
            before < after,
            "{} came after {}: {history:?}",
            pair[1],
            pair[0]
        );
    }
    Ok(())
}

/// The place of an entry, which the serial of a certificate tells: 24 bits of the log, 40 of the index.
fn place(serial: &str) -> Option<Place> {
    let whole = format!("{serial:0>32}");
    let log = u32::from_str_radix(whole.get(..6)?, 16).ok()?;
    Some((log, u64::from_str_radix(whole.get(6..16)?, 16).ok()?))
}

#[test]
fn older_certificate_after_a_newer_one_is_found() {
    let serial = |log: u32, index: u64| {
        let whole = format!("{log:06x}{index:010x}0123456789abcdef");
        whole.trim_start_matches('0').to_owned()
    };
    // Committed in this order, in two logs.
    let order = [((7, 300), 1), ((9, 1), 2), ((7, 301), 3)].into();
    let [first, second, third] = [serial(7, 300), serial(9, 1), serial(7, 301)];
    let history = |all: &[&String]| all.iter().map(|it| (*it).clone()).collect::<Vec<_>>();
    never_goes_back(&history(&[&first, &second, &third]), &order).unwrap();
    for (bad, why) in [
        (history(&[&first, &third, &second]), "came after"),
        (history(&[&first, &second, &first]), "came after"),
        (history(&[&first, &serial(9, 2)]), "no log"),
    ] {
        let told = never_goes_back(&bad, &order).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}
