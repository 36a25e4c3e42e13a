//! A reader of the logs that stands still stops nothing.
//!
//! Each daemon logs all it can into a FIFO that nobody reads. The pipe is full within moments;
//! from then on whoever waits for it waits for ever.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Mesh, Process, Registration, binaries, fetch, wait};
use http::StatusCode;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::scene::WEB;

/// What a pipe holds by default (pipe(7)): sixteen pages, of which lines leave the ends empty.
const PIPE_BYTES: usize = 65_536;

/// A daemon whose stderr is a FIFO that nobody reads.
struct Stalled {
    process: Process,
    telemetry: SocketAddr,
    fifo: PathBuf,
}

impl Stalled {
    /// Starts it on the configuration in `folder`, with every line that there is.
    async fn start(program: &str, folder: &Path, telemetry: SocketAddr) -> Result<Self> {
        let config = folder.join(program.trim_start_matches("countersign-"));
        let config = config.with_extension("toml");
        let text = std::fs::read_to_string(&config)?;
        let lines = text.lines().filter(|line| !line.starts_with("filter"));
        let text = lines.map(|line| format!("{line}\n")).collect::<String>();
        let text = text.replace("[log]\n", "") + "\n[log]\nfilter = \"trace,h2=trace\"\n";
        std::fs::write(&config, text)?;
        let fifo = folder.join("stderr.fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let program = binaries::ours(program)?;
        let into_fifo = r#"exec "$@" 2<>stderr.fifo"#;
        let (program, config) = (program.to_string_lossy(), config.to_string_lossy());
        let arguments = ["-c", into_fifo, "sh", &program, "run", "--config", &config];
        let process = Process::start("stalled", Path::new("sh"), &arguments, folder)?;
        process
            .wait_for("ready daemon", async |_| {
                let ready = timeout(wait::BOUND, fetch::is_ready(telemetry)).await;
                ready.unwrap_or(false).then_some(())
            })
            .await?;
        Ok(Self {
            process,
            telemetry,
            fifo,
        })
    }

    async fn is_alive(&self) -> Result<()> {
        let answer = timeout(wait::BOUND, fetch::get(self.telemetry, "/livez"));
        let (status, _) = answer.await.context("no answer of /livez")??;
        ensure!(status == StatusCode::OK, "{status}");
        Ok(())
    }

    /// What a scrape says that was dropped.
    async fn dropped_lines(&self) -> Result<u64> {
        let answer = timeout(wait::BOUND, fetch::get(self.telemetry, "/metrics"));
        let (_, metrics) = answer.await.context("no answer of /metrics")??;
        let mut lines = metrics.lines();
        let count =
            lines.find_map(|line| line.strip_prefix("countersign_log_lines_dropped_total "));
        Ok(count.context("no such series")?.parse()?)
    }

    /// Causes lines until some were dropped: of each HTTP/2 frame there are several.
    async fn overflow(&self, socket: &Path) -> Result<()> {
        let what = "dropped lines";
        let dropped = wait::until(what, wait::BOUND, async || {
            let pinged = ping(socket).await;
            let dropped = pinged.and(self.dropped_lines().await);
            (!matches!(dropped, Ok(0))).then_some(dropped)
        });
        dropped.await??;
        Ok(())
    }

    /// Reads what waits in the pipe.
    fn read(&self) -> Result<String> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits())?;
        let mut fifo = File::options();
        let mut fifo = fifo.read(true).custom_flags(flags).open(&self.fifo)?;
        let (mut text, mut piece) = (Vec::new(), [0; PIPE_BYTES]);
        while let Ok(read @ 1..) = fifo.read(&mut piece) {
            text.extend_from_slice(&piece[..read]);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Reads until the daemon says how many lines it dropped.
    async fn tells_of_dropped_lines(&self) -> Result<()> {
        let mut text = self.read()?;
        ensure!(text.len() >= PIPE_BYTES / 2, "the pipe held {}", text.len());
        wait::until("a line about dropped lines", wait::BOUND, async || {
            text += &self.read().ok()?;
            text.contains("log lines were dropped").then_some(())
        })
        .await
    }

    async fn drains(&self) -> Result<()> {
        let ended = self.process.terminate(wait::BOUND).await?;
        ensure!(ended.success(), "{ended}");
        Ok(())
    }
}

/// A thousand PING frames (RFC 9113 section 6.7), and their answers.
async fn ping(socket: &Path) -> Result<()> {
    const PINGS: usize = 1_000;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut stream = UnixStream::connect(socket).await?;
    stream
        .write_all(&[&preface[..], &settings].concat())
        .await?;
    stream.write_all(&ping.repeat(PINGS)).await?;
    let mut answers = vec![0; PINGS * ping.len()];
    let answered = timeout(wait::BOUND, stream.read_exact(&mut answers));
    answered.await.context("no answer to a PING")??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_log_reader_stops_no_control_plane() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    let control_plane = mesh.control_plane();
    control_plane.process().terminate(wait::BOUND).await?;
    let folder = control_plane.folder();
    let name = "countersign-control-plane";
    let stalled = Stalled::start(name, folder, control_plane.telemetry()).await?;
    for number in 0..20 {
        let registration = Registration::new(format!("{WEB}-{number}"), "a");
        mesh.register(&registration).await?;
    }
    stalled.is_alive().await?;
    stalled.overflow(&folder.join("admin.sock")).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    stalled.tells_of_dropped_lines().await?;
    stalled.drains().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_log_reader_stops_no_sidecar() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    sidecar.process().terminate(wait::BOUND).await?;
    let folder = sidecar.folder();
    let stalled = Stalled::start("countersign-sidecar", folder, sidecar.telemetry()).await?;
    stalled.overflow(&sidecar.socket()).await?;
    let status = sidecar.status().await?.to_string();
    ensure!(status.contains(WEB), "{status}");
    stalled.is_alive().await?;
    // It drains while nobody reads.
    stalled.drains().await
}
