//! A server that follows another one, and takes its place.

use super::*;

impl Cluster {
    /// Makes a standby that follows this server, and starts it. It may be behind: see
    /// [`catch_up`](Self::catch_up).
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn standby(&self) -> Self {
        self.standby_at(self.address())
    }

    /// The same, which reaches this server at another address: that of a proxy.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn standby_at(&self, address: SocketAddr) -> Self {
        let mut standby = Self::bare(self.setup.clone());
        let name = standby.name();
        let primary = self.superuser_over_tcp(SUPERUSER).at(&[address]);
        let primary = primary.with("application_name", &name).to_string();
        let mut copy = backup::copy(&primary, &standby.data());
        copy.args(["--create-slot", "--slot", &name, "--write-recovery-conf"]);
        template::succeed(&mut copy, "");
        standby.start_at_a_free_port();
        standby
    }

    /// What a standby is called by the server that it follows.
    fn name(&self) -> String {
        let number = self.folder.file_name().unwrap().to_string_lossy();
        format!("standby_{number}")
    }

    /// From now on, nothing is acknowledged by this server that is not durable at a standby of it.
    ///
    /// # Panics
    /// The standby does not follow.
    pub fn require(&self, standby: &Self) {
        let name = standby.name();
        self.set("synchronous_standby_names", &name);
        let state =
            format!("select sync_state from pg_stat_replication where application_name = '{name}'");
        let follows = wait::until(|| (self.sql(&state) == [["sync"]]).then_some(()));
        assert!(
            follows.is_some(),
            "{name} does not follow\n{}",
            standby.log()
        );
        // The process that writes checkpoints has those who commit wait: it has read the names then.
        self.sql("checkpoint");
    }

    /// From now on, this server acknowledges by itself.
    ///
    /// # Panics
    /// It does not read its configuration again.
    pub fn require_none(&self) {
        self.set("synchronous_standby_names", "");
    }

    /// Waits until this standby has all that a server has written so far.
    ///
    /// # Panics
    /// It does not follow.
    pub fn catch_up(&self, primary: &Self) {
        let written = primary
            .sql("select pg_current_wal_flush_lsn()")
            .concat()
            .concat();
        let has_it = format!("select pg_last_wal_replay_lsn() >= '{written}'");
        let caught_up = wait::until(|| (self.sql(&has_it) == [["t"]]).then_some(()));
        assert!(
            caught_up.is_some(),
            "it is behind {written}\n{}",
            self.log()
        );
    }

    /// Makes a server of a standby that takes writes, whatever became of the one that it followed.
    ///
    /// # Panics
    /// It is no standby, or stays one.
    pub fn promote(&self) {
        assert!(self.is_standby(), "it is no standby");
        let seconds = wait::BOUND.as_secs();
        let promoted = self.sql(&format!("select pg_promote(true, {seconds})"));
        assert_eq!(promoted, [["t"]], "{}", self.log());
    }

    /// Whether it follows another one.
    pub fn is_standby(&self) -> bool {
        self.sql("select pg_is_in_recovery()") == [["t"]]
    }
}
