//! What befalls a whole server: it is stopped, killed, or stands still.

use rustix::process::{Pid, Signal, kill_process};

use super::*;

impl Cluster {
    /// Ends it in order: clients are put out, nothing is left to recover.
    ///
    /// # Panics
    /// It does not run, or does not end within the bound.
    pub fn stop(&self) {
        // One that stands still ends nothing.
        self.thaw();
        let mut postmaster = self.postmaster.lock().unwrap();
        let mut child = postmaster.take().expect("it runs");
        // Of three ways to end it, the one that waits for no client.
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let ended = wait::until(|| child.try_wait().unwrap());
        assert!(ended.is_some(), "it does not end\n{}", self.log());
    }

    /// Ends all its processes at once and leaves its data as they are. One that has ended by itself is
    /// noticed here, and may be started again.
    ///
    /// # Panics
    /// A process does not end.
    pub fn kill(&self) {
        // The first one makes the others: it must not make more meanwhile.
        self.freeze();
        self.signal(Signal::KILL);
        if let Some(mut child) = self.postmaster.lock().unwrap().take() {
            child.wait().unwrap();
        }
        let are_gone = wait::until(|| self.processes().is_empty().then_some(()));
        assert!(are_gone.is_some(), "{:?} stay", self.processes());
    }

    /// Stops all its processes where they are: connections stay, and nothing answers.
    ///
    /// # Panics
    /// A process goes on.
    pub fn freeze(&self) {
        let stand_still = wait::until(|| {
            self.signal(Signal::STOP);
            self.processes().into_iter().all(stands_still).then_some(())
        });
        assert!(stand_still.is_some(), "{:?} go on", self.processes());
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn processes(&self) -> Vec<Pid> {
        processes_in(&self.data())
    }

    fn signal(&self, signal: Signal) {
        for process in self.processes() {
            // It fails only where the process has ended since.
            let _ = kill_process(process, signal);
        }
    }
}
