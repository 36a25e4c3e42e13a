use std::collections::HashMap;
use std::sync::Mutex;

use super::*;
use crate::testing::soon;

/// A daemon as a test wants it.
#[derive(Default)]
struct Daemon {
    lacks: Mutex<Vec<String>>,
    degraded: Vec<String>,
}

impl Ops for Daemon {
    fn ready(&self) -> Result<(), Vec<String>> {
        match self.lacks.lock().unwrap().clone() {
            lacks if lacks.is_empty() => Ok(()),
            lacks => Err(lacks),
        }
    }
    fn degraded(&self) -> Vec<String> {
        self.degraded.clone()
    }
    fn metrics(&self) -> String {
        String::new()
    }
}

fn read(variables: &[(&str, &str)]) -> io::Result<Option<ServiceManager>> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    ServiceManager::named_by(|name| variables.get(name).map(Into::into), 7)
}

/// A manager that listens under an abstract name, which goes with it.
struct Listening {
    socket: UnixDatagram,
    name: String,
}

impl Listening {
    fn new(test: &str) -> Self {
        let name = format!("countersign-{}-{test}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = StdDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = UnixDatagram::from_std(socket).unwrap();
        Self { socket, name }
    }

    fn manager(&self, variables: &[(&str, &str)]) -> ServiceManager {
        let name = format!("@{}", self.name);
        let mut all = vec![(SOCKET, &*name)];
        all.extend(variables);
        read(&all).unwrap().unwrap()
    }

    async fn heard(&self) -> String {
        let mut bytes = [0; 4_096];
        let length = soon(self.socket.recv(&mut bytes)).await.unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    async fn hears(&self, line: &str) {
        while !self.heard().await.lines().any(|heard| heard == line) {}
    }
}

#[test]
fn nothing_is_told_where_nobody_asks() {
    assert!(read(&[]).unwrap().is_none());
    assert!(read(&[(WATCHDOG, "1000")]).unwrap().is_none());
}

#[test]
fn unusable_socket_is_an_error() {
    let long = format!("/{}", "x".repeat(200));
    for socket in ["", "run/notify", "vsock:2:1", &long] {
        assert!(read(&[(SOCKET, socket)]).is_err(), "{socket}");
    }
}

#[test]
fn watchdog_is_for_the_process_that_it_names() {
    let watchdog = |variables: &[_]| {
        let socket = [(SOCKET, "/run/notify")];
        read(&[&socket, variables].concat())
            .unwrap()
            .unwrap()
            .watchdog
    };
    let second = Some(Duration::from_secs(1));
    let usec = (WATCHDOG, "1000000");
    assert_eq!(watchdog(&[usec]), second);
    assert_eq!(watchdog(&[usec, (WATCHDOG_PID, "7")]), second);
    assert_eq!(watchdog(&[usec, (WATCHDOG_PID, "8")]), None);
    assert_eq!(watchdog(&[usec, (WATCHDOG_PID, "x")]), None);
    assert_eq!(watchdog(&[(WATCHDOG, "0")]), None);
    assert_eq!(watchdog(&[(WATCHDOG, "-1")]), None);
    assert_eq!(watchdog(&[]), None);
}

#[test]
fn watchdog_is_told_twice_as_often_as_asked_for() {
    let interval = |usec| {
        let manager = read(&[(SOCKET, "@x"), (WATCHDOG, usec)]).unwrap();
        manager.unwrap().look_interval()
    };
    assert_eq!(interval("3000000"), Duration::from_millis(1_500));
    assert_eq!(interval("60000000"), LOOK_INTERVAL);
    assert_eq!(interval("1"), Duration::from_millis(1));
    assert_eq!(interval("x"), LOOK_INTERVAL);
}

#[test]
fn status_is_one_short_line() {
    let daemon = Daemon::default();
    assert_eq!(status(&daemon), "ready");
    *daemon.lacks.lock().unwrap() = vec!["a\nREADY=1".to_owned(), "é".repeat(MAX)];
    let told = status(&daemon);
    assert!(told.starts_with("not ready: a READY=1; é"), "{told}");
    assert!(told.len() <= MAX && told.ends_with('…'), "{told}");
    let degraded = vec!["api: full".to_owned()];
    let daemon = Daemon {
        degraded,
        ..Daemon::default()
    };
    assert_eq!(status(&daemon), "ready, degraded: api: full");
}

const MAX: usize = 256;

#[tokio::test]
async fn manager_is_told_of_every_turn() {
    let listening = Listening::new("turns");
    let manager = listening.manager(&[(WATCHDOG, "20000")]);
    let daemon = Arc::new(Daemon::default());
    *daemon.lacks.lock().unwrap() = vec!["no trust bundle".to_owned()];
    let ending = CancellationToken::new();
    let kept = tokio::spawn(manager.clone().keep(daemon.clone(), ending.clone()));
    let first = "READY=1\nSTATUS=not ready: no trust bundle\nWATCHDOG=1\n";
    assert_eq!(listening.heard().await, first);
    assert_eq!(listening.heard().await, "WATCHDOG=1\n");
    daemon.lacks.lock().unwrap().clear();
    listening.hears("STATUS=ready").await;
    ending.cancel();
    manager.ending(Duration::from_secs(3)).await;
    listening.hears("STOPPING=1").await;
    // The watchdog goes on while what is open is drained, and nothing else is said.
    assert_eq!(listening.heard().await, "WATCHDOG=1\n");
    kept.abort();
}

#[tokio::test]
async fn drain_may_take_as_long_as_it_is_set_to() {
    let listening = Listening::new("drain");
    listening.manager(&[]).ending(Duration::from_secs(3)).await;
    let told = "STOPPING=1\nSTATUS=ending\nEXTEND_TIMEOUT_USEC=13000000\n";
    assert_eq!(listening.heard().await, told);
}

#[tokio::test]
async fn manager_that_comes_later_hears_that_all_is_served() {
    let name = "later";
    let manager = Listening::new(name).manager(&[(WATCHDOG, "20000")]);
    let daemon = Arc::new(Daemon::default());
    let kept = tokio::spawn(manager.keep(daemon, CancellationToken::new()));
    tokio::task::yield_now().await;
    let listening = Listening::new(name);
    listening.hears("READY=1").await;
    kept.abort();
}

/// A daemon that looks whether the manager was told anything before it was asked itself.
struct Asked {
    manager: Arc<UnixDatagram>,
    was_first: Mutex<Option<bool>>,
}

impl Ops for Asked {
    fn ready(&self) -> Result<(), Vec<String>> {
        let is_silent = self.manager.try_recv(&mut [0; 64]).is_err();
        self.was_first.lock().unwrap().get_or_insert(is_silent);
        Ok(())
    }
    fn metrics(&self) -> String {
        String::new()
    }
}

/// So a lock that nobody gives back ends the notices.
#[tokio::test]
async fn daemon_is_asked_before_the_watchdog_is_told() {
    let listening = Listening::new("asked");
    let manager = listening.manager(&[(WATCHDOG, "20000")]);
    let socket = Arc::new(listening.socket);
    let asked = Arc::new(Asked {
        manager: Arc::clone(&socket),
        was_first: Mutex::default(),
    });
    let kept = tokio::spawn(manager.keep(asked.clone(), CancellationToken::new()));
    soon(socket.readable()).await.unwrap();
    assert_eq!(*asked.was_first.lock().unwrap(), Some(true));
    kept.abort();
}
