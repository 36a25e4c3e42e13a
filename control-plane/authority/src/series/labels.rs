//! The label values of what is counted where certificates are made: closed sets.

use prometheus_client::encoding::EncodeLabelSet;

/// A step of an issuance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From evidence to a node SVID.
    Attest,
    /// From a key proof to a published SVID.
    Enrol,
    /// Whether the node may hold what it asks for.
    Authorize,
    /// Building the certificate and applying every rule to it.
    Lint,
    /// Until the entry is durable.
    Log,
    /// The signature.
    Sign,
}

/// A state that must not occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Somebody attested for a node whose holder is connected.
    NodeConnected,
    /// No issuing CA can sign any more.
    IssuerExpired,
    /// A CA that signs is not valid yet by the clock.
    IssuerNotYetValid,
    /// A caller has a certificate of ours that our log does not hold.
    StatePutBack,
    /// A node says that it has seen a newer state of this epoch.
    NewerStateSeen,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PhaseLabel {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabel {
    kind: &'static str,
}

impl From<Phase> for PhaseLabel {
    fn from(phase: Phase) -> Self {
        let phase = match phase {
            Phase::Attest => "attest",
            Phase::Enrol => "enrol",
            Phase::Authorize => "authorize",
            Phase::Lint => "lint",
            Phase::Log => "log",
            Phase::Sign => "sign",
        };
        Self { phase }
    }
}

impl Alarm {
    /// Every kind, so that each series is there before anything happened.
    pub(super) const ALL: [Self; 5] = [
        Self::NodeConnected,
        Self::IssuerExpired,
        Self::IssuerNotYetValid,
        Self::StatePutBack,
        Self::NewerStateSeen,
    ];
}

impl From<Alarm> for KindLabel {
    fn from(alarm: Alarm) -> Self {
        let kind = match alarm {
            Alarm::NodeConnected => "node_connected",
            Alarm::IssuerExpired => "issuer_expired",
            Alarm::IssuerNotYetValid => "issuer_not_yet_valid",
            Alarm::StatePutBack => "state_put_back",
            Alarm::NewerStateSeen => "newer_state_seen",
        };
        Self { kind }
    }
}
