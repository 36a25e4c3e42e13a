//! How Countersign comes to a machine, lives there under systemd, and leaves it.
//!
//! The package is that of the programs under test. It is installed into a bare Debian, which is then
//! booted: so the units are started by a real systemd, as hardened as they are.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use countersign_tests::{BareRoot, Command, Machine, Page, Shell, binaries, sds, wait};
use tempfile::TempDir;

use crate::scene::WEB;

const PAGE: &str = "docs/install.md";
const CONTROL_PLANE: &str = "countersign-control-plane";
const SIDECAR: &str = "countersign-sidecar";
/// A second sidecar, as the page names it.
const INSTANCE: &str = "countersign-sidecar@b";
/// The worst that `systemd-analyze security` may say of a unit, times ten. A hardening that is lost costs
/// at least one.
const EXPOSURE: [(&str, &str); 3] = [
    ("countersign-control-plane.service", "14"),
    ("countersign-sidecar.service", "17"),
    ("countersign-sidecar@.service", "17"),
];
/// Longest time in which a package is made, or judged: seconds where nothing else runs.
const PACKAGE_BOUND: Duration = Duration::from_secs(300);
/// A service that is looked at often, and started again at once.
const IMPATIENT: &str = "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n";

/// The package, in a folder of its own: `target/debian` belongs to whoever works here.
async fn package(folder: &Path) -> Result<PathBuf> {
    let build = binaries::project().join("deploy/debian/build");
    let programs = binaries::folder()?;
    let build = Command::new("env".into()).with_path("DEB_COMPRESSION=gzip", &build);
    let build = build.within(PACKAGE_BOUND);
    let arguments = [&*programs.to_string_lossy(), &folder.to_string_lossy()];
    Ok(build.text(&arguments).await?.trim().into())
}

async fn make(arguments: &[&str]) -> Result<String> {
    let project = binaries::project();
    let make = Command::new("make".into()).with_path("--directory", project);
    make.with(&["--no-print-directory"]).text(arguments).await
}

fn files_below(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.insert(path);
        }
    }
    Ok(found)
}

/// A tree into which `make install` has put everything. It lies in a folder that is somebody's own, and
/// has one that was there before: both keep their modes.
async fn installed() -> Result<(TempDir, [String; 3])> {
    let folder = tempfile::tempdir()?;
    let bin = folder.path().join("usr/bin");
    std::fs::create_dir_all(&bin)?;
    for private in [folder.path(), &bin] {
        std::fs::set_permissions(private, Permissions::from_mode(0o700))?;
    }
    let destination = format!("DESTDIR={}", folder.path().display());
    let programs = format!("PROGRAMS={}", binaries::folder()?.display());
    let arguments = [destination, "PREFIX=/usr".to_owned(), programs];
    let [destination, prefix, programs] = &arguments;
    make(&["install", destination, prefix, programs]).await?;
    for private in [folder.path(), &bin] {
        let mode = private.metadata()?.permissions().mode() & 0o7777;
        ensure!(mode == 0o700, "{} has mode {mode:o} now", private.display());
    }
    Ok((folder, arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn make_uninstall_removes_what_make_installed() -> Result<()> {
    let (folder, [destination, prefix, programs]) = installed().await?;
    let usr = folder.path().join("usr");
    for file in [
        "bin/countersign",
        "bin/countersign-control-plane",
        "bin/countersign-sidecar",
        "lib/systemd/system/countersign-sidecar@.service",
        "share/man/man1/countersign-ca-rotate-root.1",
        "share/man/man8/countersign-sidecar.8",
        "share/bash-completion/completions/countersign",
        "share/zsh/site-functions/_countersign-sidecar",
        "share/fish/vendor_completions.d/countersign-control-plane.fish",
        "share/doc/countersign/examples/sidecar.toml",
    ] {
        ensure!(usr.join(file).is_file(), "{file} is not installed");
    }
    // An older version had a page that this one has not, and somebody else has put a file beside ours.
    let old = usr.join("share/man/man1/countersign-old.1");
    std::fs::write(&old, "")?;
    let list = usr.join("share/countersign/installed");
    let listed = std::fs::read_to_string(&list)?;
    std::fs::write(
        &list,
        format!("file /usr/share/man/man1/countersign-old.1\n{listed}"),
    )?;
    let foreign = usr.join("bin/foreign");
    std::fs::write(&foreign, "")?;
    make(&["install", &destination, &prefix, &programs]).await?;
    ensure!(!old.exists(), "what is not installed any more stays");

    make(&["uninstall", &destination, &prefix]).await?;
    let left = files_below(folder.path())?;
    ensure!(left == BTreeSet::from([foreign.clone()]), "{left:?}");
    std::fs::remove_file(foreign)?;
    make(&["install", &destination, &prefix, &programs]).await?;
    make(&["uninstall", &destination, &prefix]).await?;
    ensure!(!usr.join("share").exists(), "folders stay");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn units_are_no_more_exposed_than_they_need() -> Result<()> {
    let (folder, _) = installed().await?;
    for (unit, threshold) in EXPOSURE {
        let file = folder.path().join("usr/lib/systemd/system").join(unit);
        let analyze = Command::new("systemd-analyze".into()).with(&["security", "--no-pager"]);
        let threshold = format!("--threshold={threshold}");
        let arguments = ["--offline=true", &threshold, &*file.to_string_lossy()];
        let told = analyze.run(&arguments).await?;
        ensure!(told.code == Some(0), "{}{}", told.stdout, told.stderr);
    }
    Ok(())
}

/// Sidecars hold their keys in memory, and get new ones from a control plane that is there.
#[tokio::test(flavor = "multi_thread")]
async fn upgrade_restarts_the_control_plane_first() -> Result<()> {
    const STUBS: &str = "mkdir -p stubs /run/systemd/system; for name in getent useradd systemctl \
        deb-systemd-invoke; do printf '#!/bin/sh\\necho \"%s $*\" >> calls.log\\n' $name > stubs/$name; \
        chmod +x stubs/$name; done";
    let mut shell = Shell::start()?;
    shell.run(STUBS).await?;
    let script = binaries::project().join("deploy/debian/postinst");
    let script = script.display();
    let upgrade = format!("PATH=$PWD/stubs:$PATH sh '{script}' configure 0.0.9; cat calls.log");
    let calls = shell.run(&upgrade).await?;
    let restarts = calls
        .lines()
        .filter_map(|call| call.strip_prefix("deb-systemd-invoke "));
    let expected = [
        "try-restart countersign-control-plane.service",
        "try-restart countersign-sidecar.service countersign-sidecar@*.service",
    ];
    ensure!(restarts.eq(expected), "{calls}");
    Ok(())
}

/// One machine for all of it: a root costs a minute.
#[tokio::test(flavor = "multi_thread")]
async fn package_lives_in_a_bare_debian_and_leaves_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let package = async {
        let package = package(folder.path()).await?;
        is_clean(&package).await?;
        Ok(package)
    };
    let (root, package) = tokio::try_join!(BareRoot::make(), package)?;
    install(&root, &package).await?;
    units_are_understood(&root).await?;
    newcomer_follows_the_readme(&root).await?;

    let machine = root.boot().await?;
    unconfigured_daemon_is_not_started(&machine).await?;
    for section in [
        "Start the control plane",
        "Start a sidecar",
        "Several sidecars on one machine",
    ] {
        machine.follow(&Page::section(PAGE, section)?).await?;
    }
    workload_gets_its_identity(&machine).await?;
    others_reach_nothing(&machine).await?;
    hung_daemons_are_started_again(&machine).await?;
    let section = Page::section(PAGE, "What a unit lets its daemon do")?;
    machine.follow(&section).await?;
    proc_is_read_and_not_written(&machine).await?;
    daemons_end_in_order(&machine).await?;
    machine.follow(&Page::section(PAGE, "Remove it")?).await?;
    nothing_is_left(&machine).await
}

async fn is_clean(package: &Path) -> Result<()> {
    let lintian = Command::new("lintian".into()).with(&["--fail-on", "error,warning"]);
    let package = package.to_string_lossy();
    let told = lintian.within(PACKAGE_BOUND).run(&[&*package]).await?;
    ensure!(told.code == Some(0), "{}{}", told.stdout, told.stderr);
    Ok(())
}

async fn install(root: &BareRoot, package: &Path) -> Result<()> {
    std::fs::copy(package, root.path().join("tmp/countersign.deb"))?;
    let inside = root.inside();
    inside
        .text(&["dpkg", "--install", "/tmp/countersign.deb"])
        .await?;
    for program in ["countersign", CONTROL_PLANE, SIDECAR] {
        inside.text(&[program, "--version"]).await?;
    }
    for user in ["countersign", "countersign-sidecar"] {
        let entry = inside.text(&["getent", "passwd", user]).await?;
        ensure!(entry.trim().ends_with(":/usr/sbin/nologin"), "{entry}");
    }
    Ok(())
}

/// With nothing but the package, in a network of its own.
async fn newcomer_follows_the_readme(root: &BareRoot) -> Result<()> {
    let mut shell = Shell::start_in_root(&root.path())?;
    let section = Page::section("README.md", "A mesh by hand")?;
    shell.follow(&section).await
}

async fn units_are_understood(root: &BareRoot) -> Result<()> {
    for unit in [CONTROL_PLANE, SIDECAR, INSTANCE] {
        let unit = format!("{unit}.service");
        let arguments = ["systemd-analyze", "verify", "--man=no", &unit];
        let told = root.inside().run(&arguments).await?;
        let said = told.stdout + &told.stderr;
        ensure!(told.code == Some(0) && said.is_empty(), "{said}");
    }
    Ok(())
}

async fn unconfigured_daemon_is_not_started(machine: &Machine) -> Result<()> {
    for unit in [CONTROL_PLANE, SIDECAR, INSTANCE] {
        let state = machine.property(unit, "ActiveState").await?;
        ensure!(state == "inactive", "{unit} is {state}");
        let refused = machine.run("systemctl", &["start", unit]).await?;
        ensure!(
            refused.stderr.contains("Assertion failed"),
            "{}",
            refused.stderr
        );
        ensure!(
            machine.property(unit, "NRestarts").await? == "0",
            "{unit} loops"
        );
    }
    Ok(())
}

/// From outside of the machine's process table, and so by its uid alone.
async fn workload_gets_its_identity(machine: &Machine) -> Result<()> {
    let socket = machine.files().join("run/countersign/sidecar/sidecar.sock");
    wait::until("an identity", wait::BOUND, async || {
        let answer = sds::fetch(&socket, &[WEB]).await.ok()?;
        (answer.resources.len() == 1).then_some(())
    })
    .await
}

/// What a local user may not: keys, the admin socket, and a word to systemd in the name of a daemon.
async fn others_reach_nothing(machine: &Machine) -> Result<()> {
    let nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"];
    let inside =
        async |command: &[&str]| machine.run("setpriv", &[&nobody, command].concat()).await;
    for folder in [
        "/var/lib/countersign/control-plane",
        "/var/lib/countersign/sidecar",
        "/var/lib/countersign/sidecar-b",
        "/run/countersign/control-plane",
    ] {
        let listed = inside(&["ls", folder]).await?;
        ensure!(
            listed.code != Some(0),
            "{folder} is open: {}",
            listed.stdout
        );
        let told = machine.text("stat", &["--format=%a", folder]).await?;
        ensure!(told.trim() == "700", "{folder} has mode {told}");
    }
    let token = inside(&["cat", "/etc/countersign/sidecar.token"]).await?;
    ensure!(token.code != Some(0), "{}", token.stdout);
    let socket = "/run/countersign/control-plane/admin.sock";
    let asked = inside(&["countersign", "list", "--admin-socket", socket]).await?;
    ensure!(asked.code == Some(3), "{asked:?}");
    let environment = ["env", "NOTIFY_SOCKET=/run/systemd/notify", "systemd-notify"];
    let pid = machine.property(SIDECAR, "MainPID").await?;
    let told = [&environment[..], &["--pid", &pid, "--status=taken over"]].concat();
    inside(&told).await?;
    let status = machine.property(SIDECAR, "StatusText").await?;
    ensure!(status == "ready", "{status}");
    Ok(())
}

async fn hung_daemons_are_started_again(machine: &Machine) -> Result<()> {
    let units = [CONTROL_PLANE, SIDECAR, INSTANCE];
    for unit in units {
        let folder = format!("/run/systemd/system/{unit}.service.d");
        let script = format!("mkdir -p {folder} && printf '{IMPATIENT}' > {folder}/impatient.conf");
        machine.text("sh", &["-c", &script]).await?;
    }
    machine.text("systemctl", &["daemon-reload"]).await?;
    for unit in units {
        machine.text("systemctl", &["restart", unit]).await?;
        let pid = machine.property(unit, "MainPID").await?;
        let stop = format!("kill -STOP {pid}");
        machine.text("sh", &["-c", &stop]).await?;
        machine
            .until(unit, "NRestarts", |count| count == "1")
            .await?;
        machine
            .until(unit, "StatusText", |status| status == "ready")
            .await?;
    }
    Ok(())
}

/// With the capability that `unix:path` needs.
async fn proc_is_read_and_not_written(machine: &Machine) -> Result<()> {
    machine
        .until(SIDECAR, "StatusText", |status| status == "ready")
        .await?;
    let pid = machine.property(SIDECAR, "MainPID").await?;
    let status = machine
        .text("cat", &[&format!("/proc/{pid}/status")])
        .await?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.context("no capabilities")?.trim(), 16)?;
    ensure!(effective == 1 << CAP_SYS_PTRACE, "{effective:x}");
    let write = "echo taken > /proc/1/comm";
    let inside = ["--target", &pid, "--mount", "sh", "-c", write];
    let refused = machine.run("nsenter", &inside).await?;
    ensure!(
        refused.stderr.contains("Read-only file system"),
        "{refused:?}"
    );
    Ok(())
}

const CAP_SYS_PTRACE: u32 = 19;

async fn daemons_end_in_order(machine: &Machine) -> Result<()> {
    for unit in [INSTANCE, SIDECAR] {
        machine.text("systemctl", &["stop", unit]).await?;
        ensure!(
            machine.property(unit, "Result").await? == "success",
            "{unit}"
        );
        machine.text("systemctl", &["start", unit]).await?;
    }
    Ok(())
}

async fn nothing_is_left(machine: &Machine) -> Result<()> {
    let found = [
        "/etc",
        "/usr",
        "/var/lib",
        "/run/countersign",
        "-iname",
        "*countersign*",
    ];
    let found = machine.run("find", &found).await?;
    // What a drop-in says was the page's, and is the machine's.
    let ours = |path: &&str| !path.starts_with("/etc/systemd/system/countersign-sidecar.service.d");
    let left: Vec<_> = found.stdout.lines().filter(ours).collect();
    ensure!(left.is_empty(), "{left:?}");
    let running = [
        "-c",
        "grep --files-with-matches countersign /proc/[0-9]*/comm",
    ];
    let running = machine.run("sh", &running).await?;
    ensure!(running.stdout.is_empty(), "{}", running.stdout);
    machine.text("getent", &["passwd", "countersign"]).await?;
    Ok(())
}
