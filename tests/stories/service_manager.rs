//! What systemd is told by daemons of type `notify`: that they serve, how they are, that they live, and
//! that they end.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use countersign_tests::{Process, binaries, ports, wait};
use rustix::process::Signal;

/// Asked for twice a second.
const WATCHDOG_USEC: &str = "1000000";

/// A service manager that starts a daemon and hears what it says.
struct Manager {
    socket: UnixDatagram,
    process: Process,
    heard: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Manager {
    /// Starts a daemon with this configuration, under a manager of this name.
    fn start(program: &str, config: &str, address: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("config.toml"), config)?;
        let address = address.replace("{folder}", &folder.path().to_string_lossy());
        let bound = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&address)?,
        };
        let socket = UnixDatagram::bind_addr(&bound)?;
        socket.set_nonblocking(true)?;
        let path = binaries::ours(program)?;
        let arguments = [
            &*format!("NOTIFY_SOCKET={address}"),
            &format!("WATCHDOG_USEC={WATCHDOG_USEC}"),
            &path.to_string_lossy(),
            "run",
            "--config",
            "config.toml",
        ];
        let process = Process::start(program, Path::new("env"), &arguments, folder.path())?;
        Ok(Self {
            socket,
            process,
            heard: Vec::new(),
            _folder: folder,
        })
    }

    /// Waits until something that begins so was said so often.
    async fn hears(&mut self, beginning: &str, times: usize) -> Result<()> {
        let (socket, heard) = (&self.socket, &mut self.heard);
        let found = self.process.wait_for(beginning, async |_| {
            heard.extend(lines(socket));
            let found = heard.iter().filter(|line| line.starts_with(beginning));
            (found.count() >= times).then_some(())
        });
        found.await.with_context(|| format!("{:?}", self.heard))
    }

    /// Everything that is said until the end, which is asked for once `status` was said.
    async fn hears_a_life(mut self, status: &str) -> Result<()> {
        self.hears("READY=1", 1).await?;
        self.hears(status, 1).await?;
        self.hears("WATCHDOG=1", 3).await?;
        self.process.signal(Signal::TERM)?;
        let ended = self.process.terminate(wait::BOUND).await?;
        ensure!(ended.success(), "{ended}");
        self.heard.extend(lines(&self.socket));
        let heard = self.heard;
        ensure!(heard[0] == "READY=1", "{heard:?}");
        let count = |wanted| heard.iter().filter(|line| *line == wanted).count();
        ensure!(count("READY=1") == 1, "{heard:?}");
        let end = heard.iter().position(|line| line == "STOPPING=1");
        let end = &heard[end.with_context(|| format!("{heard:?}"))? + 1..];
        ensure!(end[0] == "STATUS=ending", "{heard:?}");
        ensure!(end[1].starts_with("EXTEND_TIMEOUT_USEC="), "{heard:?}");
        ensure!(
            end[2..].iter().all(|line| line == "WATCHDOG=1"),
            "{heard:?}"
        );
        Ok(())
    }
}

fn lines(socket: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 4_096];
    let mut lines = Vec::new();
    while let Ok(length) = socket.recv(&mut bytes) {
        let notice = String::from_utf8_lossy(&bytes[..length]);
        lines.extend(notice.lines().map(str::to_owned));
    }
    lines
}

fn control_plane() -> String {
    let (api, telemetry) = (ports::reserve(), ports::reserve());
    format!(
        "trust_domain = \"example.org\"\ndata_dir = \"./data\"\n[api]\nlisten = \"{api}\"\n\
         [admin]\nsocket = \"./admin.sock\"\n[telemetry]\nlisten = \"{telemetry}\"\n"
    )
}

/// A sidecar that nobody has given a token, and whose control plane is not there.
fn sidecar() -> String {
    let (api, telemetry) = (ports::reserve(), ports::reserve());
    format!(
        "trust_domain = \"example.org\"\nstate_dir = \"./state\"\n[control_plane]\n\
         address = \"https://{api}\"\nbundle = \"./bundle.pem\"\n[attestation]\n\
         method = \"join_token\"\ntoken_file = \"./token\"\n[workload_api]\n\
         socket = \"./sidecar.sock\"\n[telemetry]\nlisten = \"{telemetry}\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn manager_hears_the_life_of_a_control_plane() -> Result<()> {
    let address = format!("@countersign-notify-{}", std::process::id());
    let manager = Manager::start("countersign-control-plane", &control_plane(), &address)?;
    manager.hears_a_life("STATUS=ready").await
}

/// It serves its sockets though it can do nothing yet, and says what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn manager_hears_the_life_of_a_sidecar() -> Result<()> {
    let manager = Manager::start("countersign-sidecar", &sidecar(), "{folder}/notify")?;
    manager
        .hears_a_life("STATUS=not ready: no trust bundle")
        .await
}
