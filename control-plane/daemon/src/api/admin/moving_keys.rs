//! Keys of root and intermediate that go from one control plane to another, in the hands of an operator.
//!
//! The socket is that of the user who can read the files of the keys anyway.

use countersign_authority::MovedKey;
use countersign_proto::admin as wire;
use tonic::Status;
use zeroize::Zeroizing;

use super::Operator;
use super::refusing::{invalid, refused};
use crate::plane::Plane;

/// Most keys in one message: an active and a waiting root, and an intermediate under each, twice over.
const MAX_KEYS: usize = 8;

pub(super) async fn give(
    plane: &Plane,
    operator: Operator,
) -> Result<wire::GiveKeysResponse, Status> {
    let given = plane.authority.give_keys().await;
    let given = given.map_err(|error| refused(plane, operator, &error))?;
    let keys = given.into_iter().map(|it| wire::GivenKey {
        key: Some(shown(it.moved)),
        pkcs8: it.pkcs8.to_vec(),
    });
    Ok(wire::GiveKeysResponse {
        keys: keys.collect(),
    })
}

pub(super) async fn forget(
    plane: &Plane,
    operator: Operator,
    asked: wire::ForgetKeysRequest,
) -> Result<wire::ForgetKeysResponse, Status> {
    require_few(asked.key_ids.len())?;
    let forgotten = plane.authority.forget_keys(asked.key_ids).await;
    forgotten.map_err(|error| refused(plane, operator, &error))?;
    Ok(wire::ForgetKeysResponse {})
}

pub(super) async fn take(
    plane: &Plane,
    operator: Operator,
    asked: wire::TakeKeysRequest,
) -> Result<wire::TakeKeysResponse, Status> {
    require_few(asked.keys.len())?;
    let keys = asked.keys.into_iter().map(Zeroizing::new).collect();
    let taken = plane.authority.take_keys(keys).await;
    let taken = taken.map_err(|error| refused(plane, operator, &error))?;
    let replica = plane.authority.issuing_replica(plane.clock.now()).name;
    Ok(wire::TakeKeysResponse {
        keys: taken.into_iter().map(shown).collect(),
        replica,
    })
}

fn require_few(count: usize) -> Result<(), Status> {
    if count == 0 || count > MAX_KEYS {
        let message = format!("{count} keys, and 1 to {MAX_KEYS} can be moved at once");
        return Err(invalid("keys_count", message));
    }
    Ok(())
}

fn shown(moved: MovedKey) -> wire::MovedKey {
    wire::MovedKey {
        tier: moved.tier.as_str().to_owned(),
        key_id: moved.key_id,
    }
}
