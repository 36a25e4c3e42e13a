//! Entitlements: the body of a discovery resource that is named by the entitlement.

use std::time::Duration;

use bytes::Bytes;
use countersign_discovery::Resource;
use countersign_model::selector::{MAX_SELECTOR_BYTES, MAX_SELECTORS};
use countersign_model::{
    Entitlement, EntitlementId, EntitlementKind, Hint, RenewalWindow, Selector, SelectorSet,
    SpiffeId,
};
use prost::Message;

use super::time::{duration, read_duration, read_optional_duration, read_timestamp, timestamp};
use super::{ConvertError, Problem};
use crate::{ENTITLEMENT_TYPE, mesh};

/// Longest encoded entitlement that is read: all fields at their bounds fit.
pub const MAX_ENTITLEMENT_BYTES: usize = 32 * 1024;

/// How far a control plane that does not tell dates certificates back, unless it is set otherwise.
const UNTOLD_BACKDATE: Duration = Duration::from_secs(60);

/// The discovery resource of an entitlement.
pub fn resource(entitlement: &Entitlement) -> Resource {
    let body = mesh::Entitlement::from(entitlement).encode_to_vec();
    Resource::hashed(ENTITLEMENT_TYPE, entitlement.id.as_str(), Bytes::from(body))
}

/// Reads a discovery resource.
///
/// # Errors
/// Another type, a name that is none, a body that does not decode or convert.
pub fn read_resource(resource: &Resource) -> Result<Entitlement, ConvertError> {
    if &*resource.type_url != ENTITLEMENT_TYPE {
        return Err(Problem::NotA("an entitlement").of("type_url"));
    }
    if resource.body.len() > MAX_ENTITLEMENT_BYTES {
        let limit = MAX_ENTITLEMENT_BYTES;
        return Err(Problem::TooLong { limit }.of("resource"));
    }
    let id = EntitlementId::parse(&resource.name);
    let id = id.ok_or(Problem::NotA("the name of an entitlement").of("name"))?;
    let message = mesh::Entitlement::decode(resource.body.as_ref());
    let message = message.map_err(|_| Problem::NotA("an entitlement").of("resource"))?;
    message.named(id)
}

impl From<&Entitlement> for mesh::Entitlement {
    fn from(entitlement: &Entitlement) -> Self {
        let selectors = match &entitlement.kind {
            EntitlementKind::Node => Vec::new(),
            EntitlementKind::Workload(set) => set.iter().map(ToString::to_string).collect(),
        };
        let hint = entitlement.hint.as_ref();
        Self {
            spiffe_id: entitlement.spiffe_id.to_string(),
            selectors,
            lifetime: Some(duration(entitlement.lifetime)),
            renew_at: entitlement.renew.renew_at(),
            min_key_epoch: entitlement.min_key_epoch,
            hint: hint.map_or_else(String::new, |hint| hint.as_str().to_owned()),
            is_default: entitlement.is_default,
            created_at: Some(timestamp(entitlement.created_at)),
            created_seq: entitlement.created_seq,
            backdate: Some(duration(entitlement.backdate)),
        }
    }
}

impl mesh::Entitlement {
    /// The entitlement of this name. The node's own has no selectors, every other one has.
    ///
    /// # Errors
    /// The field that does not convert.
    pub fn named(self, id: EntitlementId) -> Result<Entitlement, ConvertError> {
        let spiffe_id = SpiffeId::with_path(&self.spiffe_id);
        let renew = RenewalWindow::new(self.renew_at);
        Ok(Entitlement {
            spiffe_id: spiffe_id.map_err(|e| Problem::SpiffeId(e.rule).of("spiffe_id"))?,
            kind: kind(&id, &self.selectors)?,
            lifetime: read_duration("lifetime", self.lifetime)?,
            renew: renew.map_err(|_| Problem::NotA("a share of the lifetime").of("renew_at"))?,
            min_key_epoch: self.min_key_epoch,
            hint: hint(self.hint)?,
            is_default: self.is_default,
            created_at: read_timestamp("created_at", self.created_at)?,
            created_seq: self.created_seq,
            backdate: read_optional_duration("backdate", self.backdate)?.unwrap_or(UNTOLD_BACKDATE),
            id,
        })
    }
}

fn kind(id: &EntitlementId, selectors: &[String]) -> Result<EntitlementKind, ConvertError> {
    match (*id == EntitlementId::node(), selectors) {
        (true, []) => Ok(EntitlementKind::Node),
        (true, _) => Err(Problem::NotA("empty, as a node's own is").of("selectors")),
        (false, _) => Ok(EntitlementKind::Workload(selector_set(selectors)?)),
    }
}

/// Reads a selector set as texts.
///
/// # Errors
/// Too many, too long, none, or one that cannot be used.
pub fn selector_set(selectors: &[String]) -> Result<SelectorSet, ConvertError> {
    const FIELD: &str = "selectors";
    let too_long = |limit| Problem::TooLong { limit }.of(FIELD);
    if selectors.len() > MAX_SELECTORS {
        return Err(too_long(MAX_SELECTORS));
    }
    if selectors.iter().any(|text| text.len() > MAX_SELECTOR_BYTES) {
        return Err(too_long(MAX_SELECTOR_BYTES));
    }
    let parsed: Result<Vec<Selector>, _> = selectors.iter().map(|text| text.parse()).collect();
    parsed
        .and_then(SelectorSet::new)
        .map_err(|error| Problem::Selector(error).of(FIELD))
}

fn hint(text: String) -> Result<Option<Hint>, ConvertError> {
    if text.is_empty() {
        return Ok(None);
    }
    let hint = Hint::try_from(text);
    hint.map(Some)
        .map_err(|_| Problem::NotA("a hint").of("hint"))
}
