//! The process of a server: it is started, and ends.

use std::process::{Child, Stdio};

use super::*;

/// How often a port is looked for: another program may take one between the look and the start.
const PORTS: u32 = 5;
/// What a server says whose port another program has.
const PORT_IS_TAKEN: &str = "could not create any TCP/IP sockets";
/// The line of `postmaster.pid` that says how far it is, and what it says when it takes connections.
const STATE: usize = 7;
const READY: [&str; 2] = ["ready", "standby"];

impl Cluster {
    pub(super) fn start_at_a_free_port(&mut self) {
        for _ in 0..PORTS {
            self.port = countersign_ports::reserve().port();
            self.configure();
            match self.try_start() {
                Ok(()) => return,
                Err(told) if told.contains(PORT_IS_TAKEN) => {}
                Err(told) => panic!("{told}"),
            }
        }
        panic!("another program had each of {PORTS} ports\n{}", self.log());
    }

    pub(super) fn configure(&self) {
        let mut text = self.setup.configuration(&self.folder, self.port);
        for (name, value) in &*self.changed.lock().unwrap() {
            text += &settings::setting(name, value);
        }
        std::fs::write(self.folder.join(CONFIGURATION), text).unwrap();
        std::fs::write(self.folder.join(CLIENTS), self.setup.clients()).unwrap();
    }

    /// Starts it at the address that it had, and waits until it takes connections.
    ///
    /// # Panics
    /// It runs already, or does not start.
    pub fn start_again(&self) {
        self.try_start().unwrap_or_else(|told| panic!("{told}"));
    }

    /// What it logged where it ended instead.
    fn try_start(&self) -> Result<(), String> {
        let mut postmaster = self.postmaster.lock().unwrap();
        let runs = |child: &mut Child| child.try_wait().unwrap().is_none();
        assert!(!postmaster.as_mut().is_some_and(runs), "it runs already");
        let mut child = self.spawn();
        let pid = child.id();
        let is_up = wait::until(|| match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => self.takes_connections(pid).then_some(true),
        });
        *postmaster = Some(child);
        match is_up {
            Some(true) => Ok(()),
            Some(false) => {
                *postmaster = None;
                Err(self.log())
            }
            None => Err(format!("not up within {:?}\n{}", wait::BOUND, self.log())),
        }
    }

    /// Has it read its configuration again, and waits until a new connection sees that.
    pub(super) fn reload(&self) {
        let loaded = || self.sql("select pg_conf_load_time()");
        let before = loaded();
        self.sql("select pg_reload_conf()");
        let is_read = wait::until(|| (loaded() != before).then_some(()));
        assert!(is_read.is_some(), "not read again\n{}", self.log());
    }

    fn spawn(&self) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(LOG));
        let log = log.unwrap();
        let configuration = self.folder.join(CONFIGURATION);
        let mut command = INSTALLED.command(&INSTALLED.program("postgres"), &self.folder);
        command.arg("-D").arg(self.data());
        command.arg(format!("--config_file={}", configuration.display()));
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log);
        // Ctrl-C at the terminal is for the test, with which it ends.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().unwrap()
    }

    /// As its file says, which one that was killed leaves behind.
    fn takes_connections(&self, pid: u32) -> bool {
        let told = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<_> = told.lines().map(str::trim).collect();
        let is_its_own = lines.first().is_some_and(|line| *line == pid.to_string());
        is_its_own && lines.get(STATE).is_some_and(|state| READY.contains(state))
    }
}
