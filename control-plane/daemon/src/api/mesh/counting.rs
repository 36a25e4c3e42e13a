//! How many parts a message of a node may have.
//!
//! A name or a consumer can be two bytes on the wire and a hundred in memory, so the length of a
//! message alone does not bound what it becomes. Its parts are counted before it is decoded.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};

/// Most fields of a message and of the messages right below it: all names that a stream may ask for,
/// each with the version that is held, and as many to drop.
const MAX_PARTS: usize = 3 * 16_384;

/// Decodes what has few enough parts.
#[derive(Debug)]
pub(super) struct Counting<D>(pub(super) D);

impl<D: Decoder<Error = Status>> Decoder for Counting<D> {
    type Item = D::Item;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<D::Item>, Status> {
        // A message lies in one piece.
        if !has_at_most(&mut { MAX_PARTS }, message.chunk(), 1) {
            let reason = format!("a message has at most {MAX_PARTS} parts");
            return Err(Status::invalid_argument(reason));
        }
        self.0.decode(message)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Takes the fields of a message off what is `left`, and those of messages down to `depth` below it.
/// What is malformed is left to the decoder to refuse.
fn has_at_most(left: &mut usize, mut bytes: &[u8], depth: usize) -> bool {
    while let Ok((tag, wire_type)) = decode_key(&mut bytes) {
        if *left == 0 {
            return false;
        }
        *left -= 1;
        if wire_type != WireType::LengthDelimited {
            if skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).is_err() {
                return true;
            }
            continue;
        }
        let length = decode_varint(&mut bytes).ok();
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some((inner, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
            return true;
        };
        if depth > 0 && !has_at_most(left, inner, depth - 1) {
            return false;
        }
        bytes = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use countersign_proto::discovery::DeltaDiscoveryRequest;
    use countersign_proto::mesh::node_message::Message;
    use countersign_proto::mesh::{Consumer, ConsumerReport, NodeMessage};
    use prost::Message as _;

    use super::*;

    fn is_taken(message: Message) -> bool {
        let message = NodeMessage {
            message: Some(message),
        };
        has_at_most(&mut { MAX_PARTS }, &message.encode_to_vec(), 1)
    }

    #[test]
    fn two_bytes_a_name_are_counted_and_not_decoded() {
        let names = |count| {
            Message::Delta(DeltaDiscoveryRequest {
                resource_names_subscribe: vec![String::new(); count],
                ..DeltaDiscoveryRequest::default()
            })
        };
        assert!(is_taken(names(MAX_PARTS - 1)));
        assert!(!is_taken(names(MAX_PARTS)), "the request is a part as well");
        let consumers = vec![Consumer::default(); MAX_PARTS];
        assert!(!is_taken(Message::Consumers(ConsumerReport { consumers })));
    }

    #[test]
    fn the_largest_honest_request_is_taken() {
        let names: Vec<String> = (0..16_384u32).map(|n| format!("reg-{n:032x}")).collect();
        let held = names.iter().map(|name| (name.clone(), "0".repeat(32)));
        assert!(is_taken(Message::Delta(DeltaDiscoveryRequest {
            initial_resource_versions: held.collect(),
            resource_names_subscribe: names,
            ..DeltaDiscoveryRequest::default()
        })));
    }

    #[test]
    fn malformed_messages_are_left_to_the_decoder() {
        for bytes in [&[0xff; 11][..], &[0x0a, 0x05, 1], &[0x0b, 1], &[0x08], &[]] {
            assert!(has_at_most(&mut { 10 }, bytes, 1), "{bytes:?}");
        }
    }
}
