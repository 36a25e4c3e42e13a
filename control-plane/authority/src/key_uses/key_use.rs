//! The use of one key: its holder, and its certificate once that was issued.

use countersign_issue::issuance::Issuance;
use countersign_model::Coordinate;
use jiff::Timestamp;

use super::shares::HolderId;

/// The use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyUse {
    holder: HolderId,
    /// `None` while the certificate is being made.
    issued: Option<Issued>,
}

/// A certificate: its entry in a log, and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Issued {
    at: Coordinate,
    /// NotAfter, which has no parts of a second.
    end_second: i64,
}

impl KeyUse {
    /// The claim of a holder, whose certificate is being made.
    pub(super) fn claimed(holder: HolderId) -> Self {
        Self {
            holder,
            issued: None,
        }
    }

    /// The use that a certificate makes of its key.
    pub(crate) fn of(issuance: &Issuance) -> Self {
        Self {
            holder: HolderId::of(&issuance.node, &issuance.entitlement),
            issued: Some(Issued::new(
                issuance.serial.coordinate(),
                issuance.not_after,
            )),
        }
    }

    /// The same holder, with the certificate that was made.
    pub(super) fn with(self, at: Coordinate, end: Timestamp) -> Self {
        let issued = Some(Issued::new(at, end));
        Self { issued, ..self }
    }

    /// Whether the certificate is being made, or has not ended.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        self.end().is_none_or(|end| end > now)
    }

    /// Ends no earlier than what the same key was certified for before.
    pub(super) fn keep_end_of(&mut self, before: Option<&Self>) {
        let before = before.and_then(|before| before.issued);
        if let (Some(issued), Some(before)) = (&mut self.issued, before) {
            issued.end_second = issued.end_second.max(before.end_second);
        }
    }

    /// Who may use the key.
    pub(super) fn holder(&self) -> HolderId {
        self.holder
    }

    /// Whether the certificate is being made.
    pub(super) fn is_claimed(&self) -> bool {
        self.issued.is_none()
    }

    /// The entry of the certificate; `None` while it is being made.
    pub(super) fn entry(&self) -> Option<Coordinate> {
        self.issued.map(|issued| issued.at)
    }

    /// End of the certificate; `None` while it is being made.
    pub(super) fn end(&self) -> Option<Timestamp> {
        self.issued.map(|issued| issued.end())
    }
}

impl Issued {
    fn new(at: Coordinate, end: Timestamp) -> Self {
        Self {
            at,
            end_second: end.as_second(),
        }
    }

    fn end(&self) -> Timestamp {
        Timestamp::from_second(self.end_second).expect("it was the second of a time")
    }
}
