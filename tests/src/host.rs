//! A host of its own for one daemon: networks that are cut, a disk that fills, a clock that is set.
//!
//! It is made of namespaces that a process of its own holds, so all of it ends with that process, however
//! the test ends. What is not in a namespace, such as Unix sockets and files, it shares with the test.

mod clock;
mod disk;
mod network;

use std::fs::read_link;
use std::path::{Path, PathBuf};
use std::process::Command as Blocking;

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use tempfile::TempDir;

use crate::{Command, Process};
use network::Link;

pub use network::Network;

/// What a host has of its own beside its networks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Equipment {
    /// The `data_dir` of its daemon lies on a disk that [`Host::fill_disk`] fills.
    pub small_disk: bool,
    /// Its clock is set by [`Host::set_clock`].
    pub own_clock: bool,
}

/// A host. It ends when it is dropped, after what runs on it.
#[derive(Debug)]
pub struct Host {
    // Dropped first: its log is in the folder.
    holder: Process,
    folder: TempDir,
    equipment: Equipment,
    links: Vec<Link>,
}

impl Host {
    /// Makes one, with every [`Network`].
    ///
    /// # Errors
    /// The kernel refuses: the tests run as root.
    pub async fn start(equipment: Equipment) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("host-").tempdir()?;
        let hold = [
            "--net",
            "--mount",
            "--propagation",
            "private",
            "sleep",
            "infinity",
        ];
        let holder = Process::start("host", Path::new("unshare"), &hold, folder.path())?;
        let ours = [
            read_link("/proc/self/ns/net")?,
            read_link("/proc/self/ns/mnt")?,
        ];
        holder
            .wait_for("namespaces of a host", async |holder| {
                let its = ["net", "mnt"].map(|kind| read_link(namespace(holder, kind)).ok());
                let is_own = its
                    .iter()
                    .zip(&ours)
                    .all(|(its, our)| its.as_ref().is_some_and(|its| its != our));
                is_own.then_some(())
            })
            .await?;
        let mut host = Self {
            holder,
            folder,
            equipment,
            links: Vec::new(),
        };
        host.connect()?;
        if equipment.own_clock {
            host.set_clock(0)?;
        }
        Ok(host)
    }

    /// What a command is put behind, to run on this host in a folder.
    pub(crate) fn enter(&self, folder: &Path) -> Vec<String> {
        let mut enter = vec!["nsenter".to_owned()];
        for kind in ["net", "mnt"] {
            let option = if kind == "net" { "--net" } else { "--mount" };
            enter.push(format!(
                "{option}={}",
                namespace(&self.holder, kind).display()
            ));
        }
        enter.push(format!("--wdns={}", folder.display()));
        enter.extend(["--".to_owned(), "env".to_owned()]);
        enter.extend(self.environment());
        enter
    }

    /// Gets a path of what listens on the loopback of this host.
    ///
    /// # Errors
    /// No connection, or no HTTP.
    pub(crate) async fn get(&self, port: u16, path: &str) -> Result<(StatusCode, String)> {
        let url = format!("http://127.0.0.1:{port}{path}");
        let enter = format!("--net={}", namespace(&self.holder, "net").display());
        let curl = [
            "--silent",
            "--max-time",
            "10",
            "--write-out",
            "\n%{http_code}",
            &url,
        ];
        let there = Command::new("nsenter".into()).with(&[&enter, "curl"]);
        let answer = there.text(&curl).await?;
        let (body, code) = answer.rsplit_once('\n').context("no status")?;
        Ok((
            StatusCode::from_bytes(code.trim().as_bytes())?,
            body.to_owned(),
        ))
    }

    /// A file of this host, for who looks from outside.
    pub fn file(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.pid().as_raw_pid());
        Path::new(&root).join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn namespace(holder: &Process, kind: &str) -> PathBuf {
    format!("/proc/{}/ns/{kind}", holder.pid().as_raw_pid()).into()
}

/// Runs a program of which nothing but success is of use.
fn succeed(command: &mut Blocking) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}: {told}; stories with hosts of their own run as root",
        output.status
    );
    Ok(())
}
