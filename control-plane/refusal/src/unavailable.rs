//! What cannot be done though no rule refuses it, told by what mends it.

use std::error::Error;

/// What went wrong, for people; an error where there was one.
type Cause = Box<dyn Error + Send + Sync>;

/// Why something cannot be done now.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// It may work later, by itself: a device, a disk or a peer is away.
    #[error(transparent)]
    Retry(Cause),
    /// This process does no more of it: what its disk or database holds is not known, or another
    /// writes in its place.
    #[error(transparent)]
    Stopped(Cause),
    /// What is stored is not what was written.
    #[error(transparent)]
    Damaged(Cause),
}

impl Unavailable {
    /// It may work later.
    pub fn retry(cause: impl Into<Cause>) -> Self {
        Self::Retry(cause.into())
    }

    /// It does not work before a restart.
    pub fn stopped(cause: impl Into<Cause>) -> Self {
        Self::Stopped(cause.into())
    }

    /// It does not work before somebody mends what is stored.
    pub fn damaged(cause: impl Into<Cause>) -> Self {
        Self::Damaged(cause.into())
    }

    /// What mends it, for operators.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Retry(_) => "try again; the log of the control plane says more",
            Self::Stopped(_) => {
                "see `countersign status` for why it stopped, mend that, then restart the control plane"
            }
            Self::Damaged(_) => {
                "see the log of the control plane for what is damaged; restore a backup with \
                 `countersign restore`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_kept_with_its_source() {
        let disk = std::io::Error::other("no such device");
        let unavailable = Unavailable::retry(disk);
        assert_eq!(unavailable.to_string(), "no such device");
        let told = Unavailable::damaged("a log entry is damaged");
        assert_eq!(told.to_string(), "a log entry is damaged");
        let told = [told, Unavailable::stopped("stopped"), unavailable];
        let remedies = told.map(|it| it.remedy().split(' ').next().unwrap_or_default());
        assert_eq!(remedies, ["see", "see", "try"], "one for each");
    }
}
