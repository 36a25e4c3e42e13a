//! A Debian of its own: a bare root, and what becomes of it when it is booted.
//!
//! The root is made by `debootstrap` in a folder of the test, and booted by `systemd-nspawn` with a
//! network of its own. All of it ends with the test.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::command::Answer;
use crate::page::{self, Page, Step};
use crate::{Command, Process, binaries, wait};

/// Debian's own servers.
const MIRROR: &str = "http://deb.debian.org/debian";
/// What a bare root has beside the packages that all others need: a service manager.
const INCLUDED: &str = "--include=systemd,systemd-sysv";
/// Longest time that the root may take: it is downloaded, and unpacked on a loaded machine.
const BOOTSTRAP_BOUND: Duration = Duration::from_secs(600);
/// Between two looks into the machine, which are processes.
const PAUSE: Duration = Duration::from_millis(200);

/// A root in which nothing runs.
#[derive(Debug)]
pub struct BareRoot {
    folder: TempDir,
}

impl BareRoot {
    /// Makes one of the release that runs here, as a program that was built here needs its libraries.
    ///
    /// # Errors
    /// `debootstrap` is missing, or did not succeed.
    pub async fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("root");
        // Downloaded once for a target folder.
        let cache = binaries::folder()?.join("debootstrap");
        std::fs::create_dir_all(&cache)?;
        // What is mounted meanwhile goes with the namespace.
        let script = "exec unshare --mount --propagation private \
                      debootstrap --variant=minbase \"$@\" >\"$LOG\" 2>&1";
        let log = folder.path().join("debootstrap.log");
        let made = tokio::process::Command::new("sh")
            .args(["-c", script, "sh", INCLUDED, "--cache-dir"])
            .arg(&cache)
            .arg(release()?)
            .arg(&root)
            .arg(MIRROR)
            .env("LOG", &log)
            .kill_on_drop(true)
            .status();
        let made = tokio::time::timeout(BOOTSTRAP_BOUND, made).await??;
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        ensure!(made.success(), "debootstrap ended, {made}\n{}", told());
        Ok(Self { folder })
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Runs a program in it, of which nothing is left behind.
    pub fn inside(&self) -> Command {
        Command::new("chroot".into()).with(&[&self.path().to_string_lossy()])
    }

    /// Boots it.
    ///
    /// # Errors
    /// It does not come up within the bound.
    pub async fn boot(self) -> Result<Machine> {
        let root = self.path();
        let arguments = [
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--private-network",
            &format!("--machine=countersign-{}", std::process::id()),
            "--directory",
            &root.to_string_lossy(),
            "--boot",
        ];
        let nspawn = Path::new("systemd-nspawn");
        let process = Process::start("machine", nspawn, &arguments, self.folder.path())?;
        let mut machine = Machine {
            root: self,
            process,
            init: 0,
        };
        let up = wait::until_at_each(PAUSE, "booted machine", wait::BOUND, async || {
            // Its first child is another process for a moment.
            machine.init = first_child(machine.process.pid().as_raw_pid())?;
            let state = machine
                .run("systemctl", &["is-system-running"])
                .await
                .ok()?;
            let is_up = ["running", "degraded"].contains(&state.stdout.trim());
            is_up.then_some(())
        });
        if let Err(late) = up.await {
            return Err(late).with_context(|| machine.process.log());
        }
        Ok(machine)
    }
}

/// A machine that was booted.
#[derive(Debug)]
pub struct Machine {
    root: BareRoot,
    process: Process,
    /// Its first process, as its id is here.
    init: i32,
}

impl Machine {
    /// Where its files are, for who looks from outside: with what is mounted in it.
    pub fn files(&self) -> PathBuf {
        format!("/proc/{}/root", self.init).into()
    }

    /// The root that it was booted from.
    pub fn root(&self) -> &BareRoot {
        &self.root
    }

    /// Runs a program in it, as root, whatever its exit code.
    ///
    /// # Errors
    /// It cannot be started, or takes too long.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Result<Answer> {
        let init = self.init.to_string();
        let inside = Command::new("nsenter".into()).with(&["--target", &init, "--all", program]);
        inside.run(arguments).await
    }

    /// Runs a program in it and gives what it printed.
    ///
    /// # Errors
    /// Any exit code but 0.
    pub async fn text(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let answer = self.run(program, arguments).await?;
        let (code, stderr) = (answer.code, answer.stderr.trim());
        ensure!(
            code == Some(0),
            "{program} {arguments:?} ended with {code:?}: {stderr}"
        );
        Ok(answer.stdout)
    }

    /// Does what a page asks for, as root, in its home. Its commands share no variables.
    ///
    /// # Errors
    /// A command ended otherwise, or printed something else, than the page says.
    pub async fn follow(&self, page: &Page) -> Result<()> {
        for step in page.steps() {
            match step {
                Step::Run(command) => self.obey(command).await,
                Step::File { name, .. } => bail!("{name} is written by a block"),
            }
            .with_context(|| page.name().to_owned())?;
        }
        Ok(())
    }

    /// Runs a command of a page, and again where it is run until it prints something.
    async fn obey(&self, command: &page::Command) -> Result<()> {
        let script = format!("exec 2>&1; cd /root; {}", command.text);
        let start = Instant::now();
        loop {
            let ended = self.run("sh", &["-c", &script]).await?;
            let code = ended.code.context("it was killed")?;
            let Some(wrong) = command.is_missed_by(code, &ended.stdout) else {
                return Ok(());
            };
            if !command.until || start.elapsed() > wait::BOUND {
                bail!("`{}` {wrong}:\n{}", command.text, ended.stdout);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A property of a unit, as systemd tells it.
    ///
    /// # Errors
    /// systemd does not answer.
    pub async fn property(&self, unit: &str, name: &str) -> Result<String> {
        let arguments = ["show", "--value", "--property", name, unit];
        let value = self.text("systemctl", &arguments).await?;
        Ok(value.trim().to_owned())
    }

    /// Waits until a property of a unit satisfies a condition; its value.
    ///
    /// # Errors
    /// It did not within the bound; quotes the journal of the unit.
    pub async fn until(
        &self,
        unit: &str,
        name: &str,
        condition: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let what = format!("{name} of {unit}");
        let found = wait::until_at_each(PAUSE, &what, wait::BOUND, async || {
            let value = self.property(unit, name).await.ok()?;
            condition(&value).then_some(value)
        });
        match found.await {
            Ok(value) => Ok(value),
            Err(late) => {
                let journal = ["--no-pager", "--unit", unit];
                let journal = self.text("journalctl", &journal).await?;
                Err(late).context(journal)
            }
        }
    }
}

/// The code name of the Debian that runs here.
fn release() -> Result<String> {
    let told = std::fs::read_to_string("/etc/os-release")?;
    let name = told
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release names no release")?.to_owned())
}

/// The first child of a process.
fn first_child(pid: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
