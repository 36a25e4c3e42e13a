//! Whether a control plane may open a database: as its first, as one that joined, or as one that joins
//! now. Judged before anything is written.

use countersign_refusal::Denied;
use jiff::Timestamp;

use super::refusals::{
    invitation_of_another, invitation_over, invitation_unknown, nothing_to_join, sealed, uninvited,
};
use super::{Invitation, Replica};

/// What is found in a database before it is opened.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// The trust domain of the state; `None` where there is no state yet.
    pub(crate) trust_domain: Option<&'a str>,
    /// The control plane that made the state or brought it.
    pub(crate) first: Option<&'a str>,
    /// What is stored under the own name.
    pub(crate) own: Option<&'a Replica>,
}

/// As what a control plane opens a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// It makes the state, or brought it.
    First,
    /// It joined before, or was the first.
    Known,
    /// It joins now.
    Joins,
}

/// Judges it.
///
/// # Errors
/// It was not invited, or not with this invitation; or its name was sealed.
pub(crate) fn entrance(
    (trust_domain, name): (&str, &str),
    invitation: Option<&Invitation>,
    found: &Found<'_>,
    now: Timestamp,
) -> Result<Entrance, Denied> {
    if let Some(invitation) = invitation
        && (invitation.trust_domain() != trust_domain || invitation.replica() != name)
    {
        return Err(invitation_of_another(invitation, trust_domain, name));
    }
    match (found.own, found.first) {
        // One that was started with its invitation again has joined.
        (Some(Replica::Joined { .. }), _) => return Ok(Entrance::Known),
        (Some(Replica::Sealed { .. }), _) => return Err(sealed(name)),
        (None, None) => match invitation {
            None => return Ok(Entrance::First),
            Some(_) => return Err(nothing_to_join()),
        },
        (None, Some(first)) if first == name => return Ok(Entrance::First),
        (None | Some(Replica::Invited { .. }), _) => {}
    }
    let Some(invitation) = invitation else {
        return Err(uninvited(name, found.first.unwrap_or("another")));
    };
    if found.trust_domain.is_some_and(|it| it != trust_domain) {
        return Err(invitation_unknown(name));
    }
    match found.own {
        Some(Replica::Invited {
            secret_sha256,
            until,
        }) if *secret_sha256 == invitation.secret_sha256() => match now <= *until {
            true => Ok(Entrance::Joins),
            false => Err(invitation_over(name, *until)),
        },
        _ => Err(invitation_unknown(name)),
    }
}
