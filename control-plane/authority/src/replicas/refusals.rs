//! What is refused of control planes that share a database: an invitation, a start, a seal.

use countersign_fleet::replicas::ALIVE;
use countersign_refusal::Denied;
use jiff::Timestamp;

use super::Invitation;

pub(super) fn alone() -> Denied {
    Denied {
        code: "replica_alone",
        message: "the state is in data_dir: one control plane can use it".to_owned(),
        remedy: "move it to PostgreSQL with `countersign store copy`, and set store.url",
    }
}

pub(super) fn ttl_out_of_bounds() -> Denied {
    Denied {
        code: "replica_ttl_out_of_bounds",
        message: "an invitation waits 1 min to 7 days".to_owned(),
        remedy: "choose a --ttl within the bounds",
    }
}

pub(super) fn uninvited(name: &str, first: &str) -> Denied {
    Denied {
        code: "database_taken",
        message: format!(
            "the database holds the state of the control plane {first}, which {name} has not joined"
        ),
        remedy: "join with `run --join FILE`, from `countersign replica invite` on a control plane \
                 that runs; or name another database in store.url",
    }
}

pub(super) fn sealed(name: &str) -> Denied {
    Denied {
        code: "replica_sealed",
        message: format!("the log of {name} was sealed: it issues nothing any more"),
        remedy: "join with another replica.name and an empty data_dir",
    }
}

pub(super) fn nothing_to_join() -> Denied {
    Denied {
        code: "nothing_to_join",
        message: "the database that store.url names has no state to join".to_owned(),
        remedy: "check store.url; the first control plane of a database starts without --join",
    }
}

pub(super) fn invitation_of_another(
    invitation: &Invitation,
    trust_domain: &str,
    name: &str,
) -> Denied {
    Denied {
        code: "invitation_of_another",
        message: format!(
            "the invitation is for {} in {}, and this is {name} in {trust_domain}",
            invitation.replica(),
            invitation.trust_domain()
        ),
        remedy: "set replica.name and trust_domain as it says, or ask for another invitation",
    }
}

pub(super) fn invitation_over(name: &str, until: Timestamp) -> Denied {
    Denied {
        code: "invitation_over",
        message: format!("the invitation of {name} was good until {until}"),
        remedy: "make another with `countersign replica invite`",
    }
}

pub(super) fn invitation_unknown(name: &str) -> Denied {
    Denied {
        code: "invitation_unknown",
        message: format!("the invitation of {name} is not one of this database, or was replaced"),
        remedy: "make another with `countersign replica invite`",
    }
}

pub(super) fn own_log(name: &str) -> Denied {
    Denied {
        code: "replica_is_this",
        message: format!("{name} is the control plane that was asked"),
        remedy: "stop it, and ask another one that runs; see `countersign replica list`",
    }
}

pub(super) fn unknown(name: &str) -> Denied {
    Denied {
        code: "replica_unknown",
        message: format!("{name} is no control plane of this database"),
        remedy: "see `countersign replica list`",
    }
}

pub(super) fn not_joined(name: &str) -> Denied {
    Denied {
        code: "replica_not_joined",
        message: format!("{name} is invited and has not joined: it has no log to seal"),
        remedy: "withdraw the invitation with `countersign replica remove`",
    }
}

pub(super) fn alive(name: &str) -> Denied {
    Denied {
        code: "replica_alive",
        message: format!(
            "{name} is alive: it was heard of within the last {} s, and what is sealed never issues again",
            ALIVE.as_secs()
        ),
        remedy: "stop it first and wait that long; or give --force where it runs and cannot be reached",
    }
}
