//! The first words of both sides: protocol version and capabilities.

use countersign_discovery::Stamp;
use countersign_proto::PROTOCOL_VERSION;
use countersign_proto::mesh::Hello;
use tonic::Status;

/// Most capabilities that a node may name.
const MAX_CAPABILITIES: usize = 64;

/// What this control plane says, which answers from this state.
pub(super) fn ours(stamp: Stamp) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        capabilities: Vec::new(),
        software: concat!("countersign-control-plane/", env!("CARGO_PKG_VERSION")).to_owned(),
        epoch: stamp.epoch,
        sequence: stamp.sequence,
        newest_chain: Vec::new(),
        enrol_ahead: None,
    }
}

/// Judges what a node says. Capabilities that are not known are ignored.
///
/// # Errors
/// No hello, or a version that this build does not speak.
pub(super) fn check(hello: Option<&Hello>) -> Result<(), Status> {
    let hello = hello.ok_or_else(|| Status::invalid_argument("the first message is a hello"))?;
    if hello.capabilities.len() > MAX_CAPABILITIES {
        return Err(Status::invalid_argument("too many capabilities"));
    }
    if hello.protocol_version != PROTOCOL_VERSION {
        return Err(Status::failed_precondition(format!(
            "the node speaks protocol version {}, the control plane {PROTOCOL_VERSION}",
            hello.protocol_version
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incompatible_version_is_named_on_both_sides() {
        let mut hello = ours(Stamp::default());
        hello.protocol_version = 7;
        let status = check(Some(&hello)).expect_err("version 7");
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert!(status.message().contains('7') && status.message().contains('1'));
    }

    #[test]
    fn unknown_capabilities_are_ignored() {
        let mut hello = ours(Stamp::default());
        hello.capabilities = vec!["from-the-future".to_owned()];
        assert!(check(Some(&hello)).is_ok());
        assert!(check(None).is_err());
    }
}
