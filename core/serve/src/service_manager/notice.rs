//! Which lines a notice has: pure.

use std::fmt::Write as _;

use crate::ops::Ops;

/// Longest text of `STATUS=`, in bytes: a line of `systemctl status`.
const MAX_STATUS: usize = 256;

/// How a daemon is, in one line: what everybody may know who asks `/readyz`.
pub(super) fn status(ops: &dyn Ops) -> String {
    let degraded = ops.degraded();
    let text = match ops.ready() {
        Err(reasons) => format!("not ready: {}", reasons.join("; ")),
        Ok(()) if degraded.is_empty() => "ready".to_owned(),
        Ok(()) => format!("ready, degraded: {}", degraded.join("; ")),
    };
    one_line(&text)
}

/// Without control characters, which would begin another line of the notice, and not too long.
fn one_line(text: &str) -> String {
    let mut line = text.replace(char::is_control, " ");
    if line.len() > MAX_STATUS {
        let end = line.floor_char_boundary(MAX_STATUS - ELLIPSIS.len());
        line.truncate(end);
        line.push_str(ELLIPSIS);
    }
    line
}

const ELLIPSIS: &str = "…";

/// What the manager knows.
#[derive(Debug, Default)]
pub(super) struct Told {
    is_ready: bool,
    status: String,
}

impl Told {
    /// What it is to be told now, if there is anything. `status` is left out at the end.
    pub(super) fn notice(&self, status: Option<&str>, is_watched: bool) -> Option<String> {
        let mut notice = String::new();
        if !self.is_ready {
            notice.push_str("READY=1\n");
        }
        if let Some(status) = status.filter(|status| *status != self.status) {
            let _ = writeln!(notice, "STATUS={status}");
        }
        if is_watched {
            notice.push_str("WATCHDOG=1\n");
        }
        (!notice.is_empty()).then_some(notice)
    }

    /// It was told.
    pub(super) fn sent(&mut self, status: Option<String>) {
        self.is_ready = true;
        self.status = status.unwrap_or_default();
    }
}
