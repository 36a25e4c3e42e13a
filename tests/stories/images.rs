//! What the images of the daemons are made of. There is no engine here: their files are linted, and what
//! they say is done by hand.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use countersign_tests::{Command, Process, binaries, fetch, ports};

/// What the workspace needs at least, and the patch with it.
const RUST: &str = concat!(env!("CARGO_PKG_RUST_VERSION"), ".");
const USER: &str = "65532:65532";
const IMAGES: [(&str, &str); 2] = [
    ("control-plane", "countersign-control-plane"),
    ("sidecar", "countersign-sidecar"),
];

fn dockerfile(daemon: &str) -> PathBuf {
    let file = format!("deploy/docker/{daemon}.Dockerfile");
    binaries::project().join(file)
}

/// The arguments of an instruction, wherever it stands.
fn said<'t>(text: &'t str, instruction: &str) -> Vec<&'t str> {
    let lines = text.lines();
    lines
        .filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '))
        .collect()
}

#[tokio::test]
async fn linter_finds_nothing_in_the_image_files() -> Result<()> {
    let linter = binaries::python()?.with_file_name("hadolint");
    for (daemon, _) in IMAGES {
        let file = dockerfile(daemon);
        let told = Command::new(linter.clone())
            .run(&[&*file.to_string_lossy()])
            .await?;
        ensure!(told.code == Some(0), "{}{}", told.stdout, told.stderr);
    }
    Ok(())
}

#[test]
fn image_is_pinned_small_and_without_rights() -> Result<()> {
    for (daemon, program) in IMAGES {
        let text = std::fs::read_to_string(dockerfile(daemon))?;
        let image = said(&text, "ARG");
        let tag = image
            .first()
            .and_then(|it| it.strip_prefix("RUST_IMAGE=rust:"));
        ensure!(tag.is_some_and(|tag| tag.starts_with(RUST)), "{image:?}");
        ensure!(
            said(&text, "FROM") == ["${RUST_IMAGE} AS build", "scratch"],
            "{text}"
        );
        ensure!(
            !text.contains("latest") && said(&text, "ADD").is_empty(),
            "{text}"
        );
        ensure!(said(&text, "USER") == [USER], "{text}");
        ensure!(
            said(&text, "ENTRYPOINT") == [format!("[\"/usr/bin/{program}\"]")],
            "{text}"
        );
    }
    Ok(())
}

/// Only the API of the control plane is for other machines, on the port that the example and the page name.
#[test]
fn image_shows_the_port_that_the_page_names() -> Result<()> {
    let read = |file: &str| std::fs::read_to_string(binaries::project().join(file));
    let control_plane = std::fs::read_to_string(dockerfile("control-plane"))?;
    ensure!(
        said(&control_plane, "EXPOSE") == ["8443"],
        "{control_plane}"
    );
    ensure!(read("deploy/config/control-plane.toml")?.contains("\nlisten = \"0.0.0.0:8443\""));
    ensure!(read("docs/install.md")?.contains("8443 of the control plane"));
    let sidecar = std::fs::read_to_string(dockerfile("sidecar"))?;
    ensure!(said(&sidecar, "EXPOSE").is_empty(), "{sidecar}");
    Ok(())
}

/// What an image consists of, as its file makes it and as an engine lays it out.
async fn image(daemon: &str, programs: &[&str], folder: &Path) -> Result<PathBuf> {
    let made = folder.join("image");
    let script = binaries::project().join("deploy/docker/root");
    let script = Command::new(script).with(&[&*made.to_string_lossy(), daemon]);
    let programs: Result<Vec<_>> = programs.iter().map(|name| binaries::ours(name)).collect();
    let programs = programs?;
    let programs: Vec<_> = programs.iter().map(|path| path.to_string_lossy()).collect();
    let programs: Vec<_> = programs.iter().map(AsRef::as_ref).collect();
    script.text(&programs).await?;
    let root = made.join("root");
    for (part, place) in [("state", "var/lib/countersign"), ("run", "run/countersign")] {
        let place = root.join(place);
        std::fs::create_dir_all(place.parent().context("it lies in a folder")?)?;
        std::fs::rename(made.join(part), &place)?;
        let place = place.to_string_lossy().into_owned();
        let chown = Command::new("chown".into()).with(&["--recursive", USER]);
        chown.text(&[&place]).await?;
    }
    Ok(root)
}

#[tokio::test(flavor = "multi_thread")]
async fn control_plane_runs_from_nothing_but_its_image() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let programs = ["countersign-control-plane", "countersign"];
    let root = image("control-plane", &programs, folder.path()).await?;
    let (api, telemetry) = (ports::reserve(), ports::reserve());
    let example = binaries::project().join("deploy/config/control-plane.toml");
    let config = std::fs::read_to_string(example)?.replace("0.0.0.0:8443", &api.to_string());
    let config = format!("{config}\n[telemetry]\nlisten = \"{telemetry}\"\n");
    std::fs::write(root.join("etc/countersign/control-plane.toml"), config)?;
    let place = root.to_string_lossy().into_owned();
    let enter = "mount -t proc proc \"$1/proc\" && exec chroot --userspec=65532:65532 \"$@\"";
    let arguments = [
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        enter,
        "sh",
        &place,
        "/usr/bin/countersign-control-plane",
        "run",
        "--config",
        "/etc/countersign/control-plane.toml",
    ];
    let process = Process::start("image", Path::new("unshare"), &arguments, folder.path())?;
    let ready = async |_: &Process| fetch::is_ready(telemetry).await.then_some(());
    process.wait_for("ready control plane", ready).await?;
    // As the health of the image is asked for.
    let health = tokio::process::Command::new("chroot")
        .arg(format!("--userspec={USER}"))
        .args([&*place, "/usr/bin/countersign", "bundle", "show"])
        .stdout(Stdio::null())
        .status();
    ensure!(health.await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn image_of_the_sidecar_has_all_that_it_needs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = image("sidecar", &["countersign-sidecar"], folder.path()).await?;
    let config = binaries::project().join("deploy/config/sidecar.toml");
    std::fs::copy(config, root.join("etc/countersign/sidecar.toml"))?;
    let inside = Command::new("chroot".into()).with(&[
        &format!("--userspec={USER}"),
        &*root.to_string_lossy(),
        "/usr/bin/countersign-sidecar",
    ]);
    inside.text(&["config", "check"]).await?;
    let programs: Vec<_> = std::fs::read_dir(root.join("usr/bin"))?.collect();
    ensure!(programs.len() == 1, "{programs:?}");
    Ok(())
}
