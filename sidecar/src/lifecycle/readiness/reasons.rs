//! Reasons of one kind or another, as they are told: by name, or as counts.

/// Most reasons that are told one by one: a probe's answer is read by people, in a line or two.
pub(crate) const MAX_REASONS: usize = 16;

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    kind: ReasonKind,
    text: String,
}

/// What can be told to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReasonKind {
    NoBundle,
    NeverConnected,
    NotConnected,
    NotInstalled,
    Expired,
    Unsaved,
    Older,
    Clocks,
    Crowded,
}

impl Reason {
    /// `text` may name identities, paths and addresses.
    pub(super) fn new(kind: ReasonKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }

    fn counted(&self, count: usize) -> String {
        let told = match self.kind {
            ReasonKind::NoBundle => "no trust bundle is installed",
            ReasonKind::NeverConnected => "the control plane is not connected yet",
            ReasonKind::NotConnected => "the control plane is not connected",
            ReasonKind::Unsaved => "what must survive a restart is held in memory alone",
            ReasonKind::Older => "the control plane is older than what it has sent before",
            ReasonKind::NotInstalled => {
                return format!("identities of listeners not installed: {count}");
            }
            ReasonKind::Expired => return format!("certificates expired: {count}"),
            ReasonKind::Crowded if count > 1 => return format!("listeners that are full: {count}"),
            // They name nobody.
            ReasonKind::Clocks | ReasonKind::Crowded => &self.text,
        };
        told.to_owned()
    }
}

/// Several reasons, what everything depends on first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons(Vec<Reason>);

impl FromIterator<Reason> for Reasons {
    fn from_iter<T: IntoIterator<Item = Reason>>(reasons: T) -> Self {
        Self(reasons.into_iter().collect())
    }
}

impl Reasons {
    /// Each with its names, for who may know all; of many the last are counted.
    pub(crate) fn named(self) -> Vec<String> {
        let mut texts: Vec<_> = self.0.into_iter().map(|reason| reason.text).collect();
        if texts.len() > MAX_REASONS {
            let more = texts.len() - MAX_REASONS;
            texts.truncate(MAX_REASONS);
            texts.push(format!("and {more} more: `status` lists all"));
        }
        texts
    }

    /// How many there are of each kind, and no name.
    pub(crate) fn counted(&self) -> Vec<String> {
        let mut kinds: Vec<(&Reason, usize)> = Vec::new();
        for reason in &self.0 {
            match kinds
                .iter_mut()
                .find(|(known, _)| known.kind == reason.kind)
            {
                Some((_, count)) => *count += 1,
                None => kinds.push((reason, 1)),
            }
        }
        kinds
            .into_iter()
            .map(|(reason, count)| reason.counted(count))
            .collect()
    }
}
