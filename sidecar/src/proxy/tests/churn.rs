//! A local user without a right who comes and goes without end takes nothing from another.

use std::process::Child;

use countersign_serve::limits::LISTEN_BACKLOG;
use futures_util::future::join_all;

use super::*;

const STRANGER: u32 = 54_321;
/// Processes of the stranger, and the connections of each that wait at once: together fewer than the
/// kernel keeps until they are accepted. Beyond that it lets everybody try again.
const PROCESSES: usize = 4;
const BURST: usize = 950;
const _: () = assert!(PROCESSES * BURST + EACH < LISTEN_BACKLOG as usize);
/// Connections of somebody else meanwhile, in rounds.
const ROUNDS: usize = 4;
const EACH: usize = 50;

/// A process of the stranger, which ends with the test.
struct Churn(Child);

impl Churn {
    fn at(target: SocketAddr) -> Self {
        let script = format!(
            r#"
import resource, socket
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
while True:
    burst = [socket.socket() for _ in range({BURST})]
    for one in burst:
        one.setblocking(False)
        one.connect_ex(("{}", {}))
    for one in burst:
        one.setblocking(True)
        try:
            one.recv(1)
        except OSError:
            pass
        one.close()
"#,
            target.ip(),
            target.port()
        );
        let mut stranger = Command::new("python3");
        stranger.args(["-c", &script]).uid(STRANGER);
        Self(forks::spawn(&mut stranger).expect("another uid needs root"))
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn ping_once(target: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(b"ping").await?;
    stream.read_exact(&mut [0; 4]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churning_stranger_puts_out_nobody() {
    let mesh = Mesh::up().await;
    let _churn: Vec<_> = (0..PROCESSES)
        .map(|_| Churn::at(mesh.client.address))
        .collect();
    until(|| mesh.client.refused("uid_not_admitted")).await;
    for round in 0..ROUNDS {
        let pings = (0..EACH).map(|_| ping_once(mesh.client.address));
        let pings = within(join_all(pings)).await;
        let failed: Vec<_> = pings.into_iter().filter_map(Result::err).collect();
        assert!(
            failed.is_empty(),
            "{} of round {round}: {failed:?}",
            failed.len()
        );
    }
}
