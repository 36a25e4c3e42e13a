//! What a service manager such as systemd is told: that the daemon serves, how it is, that its runtime
//! still turns, and that it ends. The protocol is `sd_notify(3)`: one datagram of `NAME=value` lines.
//!
//! Where `NOTIFY_SOCKET` is not set nobody asked, and nothing is told. *Ready* means that every socket
//! is served, and not that `/readyz` says so: a sidecar that waits for its token has started, and whoever
//! starts after it must not wait for an operator. What is missing is in `STATUS=`, in the words of
//! `/readyz`, as everybody on the machine may read it.
//!
//! The watchdog is told by a task of the runtime, after it has asked whether the daemon is ready: a
//! runtime whose threads all hang, or a lock that nobody gives back, ends the notices, and the manager
//! starts the daemon anew.

mod notice;

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::ops::Ops;
use notice::{Told, status};

/// How often the daemon is looked at where no watchdog asks for more: an idle daemon is to stay idle.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// A manager whose queue is full for longer is told with the next look.
const SEND_DEADLINE: Duration = Duration::from_secs(1);
/// What the end may take beside the drain, before the manager kills.
const END_MARGIN: Duration = Duration::from_secs(10);

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// The manager that started this process.
#[derive(Clone, Debug)]
pub struct ServiceManager {
    address: SocketAddr,
    /// How long it waits for a notice before it takes the daemon for hung.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names; `None` where there is none, or none that can be told.
    pub fn of_process() -> Option<Self> {
        let pid = std::process::id();
        Self::named_by(|name| std::env::var_os(name), pid).unwrap_or_else(|error| {
            tracing::warn!(%error, variable = SOCKET, "service manager cannot be told");
            None
        })
    }

    /// The one that these variables name to the process `pid`.
    fn named_by(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> io::Result<Option<Self>> {
        let Some(socket) = variable(SOCKET) else {
            return Ok(None);
        };
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(&socket)?,
            _ => return Err(io::Error::other("neither a path nor an abstract name")),
        };
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // One process of a service is watched; another that inherits the variables is not.
        let is_ours = variable(WATCHDOG_PID).is_none() || number(WATCHDOG_PID) == Some(pid.into());
        let watchdog = number(WATCHDOG).filter(|micros| is_ours && *micros > 0);
        Ok(Some(Self {
            address,
            watchdog: watchdog.map(Duration::from_micros),
        }))
    }

    /// Says that the daemon serves, and from then on how it is and that it is not hung. It never
    /// returns. Once it is `ending` only the watchdog is told.
    pub async fn keep(self, ops: Arc<dyn Ops>, ending: CancellationToken) {
        let mut told = Told::default();
        let mut looks = interval(self.look_interval());
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_heard = true;
        loop {
            looks.tick().await;
            let status = (!ending.is_cancelled()).then(|| status(&*ops));
            let Some(notice) = told.notice(status.as_deref(), self.watchdog.is_some()) else {
                continue;
            };
            match self.send(&notice).await {
                Ok(()) => told.sent(status),
                Err(error) if is_heard => {
                    tracing::warn!(%error, "service manager does not take notices");
                    is_heard = false;
                    continue;
                }
                Err(_) => continue,
            }
            is_heard = true;
        }
    }

    /// Says that the daemon ends, and that it may take so long to drain.
    pub async fn ending(&self, drain: Duration) {
        let micros = drain.saturating_add(END_MARGIN).as_micros();
        let notice = format!("STOPPING=1\nSTATUS=ending\nEXTEND_TIMEOUT_USEC={micros}\n");
        if let Err(error) = self.send(&notice).await {
            tracing::debug!(%error, "service manager does not know of the end");
        }
    }

    /// Twice as often as the watchdog asks for.
    fn look_interval(&self) -> Duration {
        let demanded = self.watchdog.map(|watchdog| watchdog / 2);
        let shortest = Duration::from_millis(1);
        demanded.map_or(LOOK_INTERVAL, |it| it.clamp(shortest, LOOK_INTERVAL))
    }

    /// Connects anew each time: a manager that executed itself anew may have made another socket.
    async fn send(&self, notice: &str) -> io::Result<()> {
        let socket = StdDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&self.address)?;
        let socket = UnixDatagram::from_std(socket)?;
        // A datagram is taken whole or not at all.
        timeout(SEND_DEADLINE, socket.send(notice.as_bytes()))
            .await?
            .map(drop)
    }
}

#[cfg(test)]
mod tests;
