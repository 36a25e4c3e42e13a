//! Waiting for a disk or a device, which nothing can await.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Runs what may wait long, while the other tasks of this thread move to another one. On a runtime of
/// one thread, as in tests, there is no other: they wait.
pub fn blocking<T>(run: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(run),
        _ => run(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn tasks_go_on_while_a_disk_is_waited_for() {
        let (done, disk) = mpsc::channel();
        let waiting = tokio::spawn(async move {
            // The only thread of the runtime has it next.
            tokio::spawn(async move { done.send(()) });
            blocking(|| disk.recv_timeout(Duration::from_secs(10)))
        });
        waiting.await.unwrap().expect("the other task ran");
    }
}
