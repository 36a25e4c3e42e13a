//! Floods of local users against the sidecar's socket, while another user fetches its certificate.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::Result;
use countersign_tests::sds::fetch;

use super::caller::{Act, run_as};
use super::honest::Waits;
use super::watched::Watched;
use crate::issuance::report::Report;
use crate::issuance::workload_id;
use crate::machine::Machine;

/// A local user.
#[derive(Clone, Copy, Debug)]
pub struct User {
    uid: u32,
    who: &'static str,
}

/// The user with a hundred identities.
pub const REGISTERED: User = User {
    uid: 2_001,
    who: "a user with 100 identities",
};
/// Has none.
pub const UNREGISTERED: User = User {
    uid: 2_002,
    who: "a user without an identity",
};
/// The honest one.
const HONEST: u32 = 2_003;
const IDENTITIES: usize = 100;
/// So long a flood lasts once it is set up.
const SECONDS: u64 = 6;
/// So long an honest one fetches, again and again while a flood runs.
const FETCHING: u64 = 2;

/// What fills memory.
///
/// # Errors
/// A daemon does not start, or ends.
pub async fn memory(report: Report, user: &User) -> Result<()> {
    for act in [
        Act::Unfinished,
        Act::UnfinishedMebibyte,
        Act::Names,
        Act::PossibleNames,
        Act::Heads,
        Act::Windows,
        Act::Answers,
    ] {
        measure(report, act, user).await?;
    }
    Ok(())
}

/// What takes CPU, and lines of the log.
///
/// # Errors
/// A daemon does not start, or ends.
pub async fn work(report: Report) -> Result<()> {
    for act in [Act::Tiny, Act::Again, Act::Opens, Act::Refusals] {
        measure(report, act, &REGISTERED).await?;
    }
    measure(report, Act::Opens, &UNREGISTERED).await
}

async fn measure(report: Report, act: Act, user: &User) -> Result<()> {
    let identities = (0..IDENTITIES).map(|number| (workload_id(0, number), REGISTERED.uid));
    let honest = (workload_id(0, IDENTITIES), HONEST);
    let identities: Vec<_> = identities.chain([honest]).collect();
    let machine = Machine::start(&identities, "").await?;
    let executable = executable(&machine)?;
    let socket = machine.socket();
    // Everybody's first call enrols what is not held yet.
    for uid in [REGISTERED.uid, HONEST] {
        run_as(uid, &executable, Act::Fetch, &socket, 1).await?;
    }
    report.title(&format!("{}: {}", user.who, act.title()));
    let watched = Watched::begin(machine.pid(), machine.log())?;
    let mut honest = Waits::default();
    let flood = run_as(user.uid, &executable, act, &socket, SECONDS);
    let mut flood = std::pin::pin!(flood);
    let outcome = loop {
        let fetch = run_as(HONEST, &executable, Act::Fetch, &socket, FETCHING);
        tokio::select! {
            outcome = &mut flood => break outcome?,
            fetched = fetch => honest.extend(fetched?.waits()),
        }
    };
    outcome.report(report);
    honest.report(report, "another user fetches its certificate");
    let fetch = async || Ok(fetch(&socket, &["default"]).await.map(drop)?);
    watched.report(report, fetch).await?;
    let again = run_as(user.uid, &executable, act, &socket, SECONDS);
    watched.again(report, again).await
}

/// This executable where every user can run it.
fn executable(machine: &Machine) -> Result<PathBuf> {
    let copy = machine.folder().join("caller");
    fs::copy(std::env::current_exe()?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}
