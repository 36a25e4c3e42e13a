//! A step that goes on where whoever waits for it goes away.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that runs in its caller's task and, where that is dropped in the middle, to its end in
/// a task of its own, which drops the outcome. It costs no task where the caller waits. At the end
/// of the runtime it ends as well, like everything else.
pub(crate) struct ToItsEnd<T: Send + 'static>(Option<Step<T>>);

type Step<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T: Send + 'static> ToItsEnd<T> {
    pub(crate) fn new(step: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(step)))
    }
}

impl<T: Send + 'static> Future for ToItsEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out, so that one that panics is not run on.
        let mut step = self.0.take().expect("not polled after its end");
        let polled = step.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(step);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(rest);
        }
    }
}

impl<T: Send + 'static> fmt::Debug for ToItsEnd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToItsEnd")
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn step_ends_in_its_callers_task() {
        assert_eq!(ToItsEnd::new(async { 7 }).now_or_never(), Some(7));
    }

    #[tokio::test]
    async fn dropped_step_goes_on() {
        let (begin, begun) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let step = async move {
            begun.await.unwrap();
            end.send(()).unwrap();
        };
        {
            let mut step = pin!(ToItsEnd::new(step));
            assert!(step.as_mut().now_or_never().is_none());
        }
        begin.send(()).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), ended);
        ended.await.unwrap().unwrap();
    }

    #[test]
    fn step_ends_with_the_runtime() {
        let (sender, receiver) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let step = ToItsEnd::new(async move {
            std::future::pending::<()>().await;
            drop(sender);
        });
        runtime.block_on(async move { drop(step) });
        drop(runtime);
        receiver.blocking_recv().unwrap_err();
    }
}
