//! What a node asks to have certified, and what it is answered.

use countersign_model::EntitlementId;
use countersign_proto::convert::enrol::{answer, read_answers};
use countersign_proto::convert::time::{read_timestamp, timestamp};
use countersign_proto::mesh::{EnrolRequest, EnrolResponse, Enrolled, Enrolment, KeyProof};
use prost::Message;
use tonic::{Code, Status};

use super::material::now;

/// As a request: what has a name is named by it. As a response: as many answers as there are, and
/// each is the same when it is written again.
pub fn run(data: &[u8]) -> bool {
    let is_asked = EnrolRequest::decode(data).is_ok_and(|request| are_named(&request));
    let is_answered = EnrolResponse::decode(data).is_ok_and(are_read);
    is_asked || is_answered
}

fn are_named(request: &EnrolRequest) -> bool {
    let names = request.enrolments.iter().map(|it| &it.entitlement);
    let named = names.filter(|name| {
        EntitlementId::parse(name).is_some_and(|id| {
            assert_eq!(id.as_str(), name.as_str());
            true
        })
    });
    named.count() > 0
}

fn are_read(response: EnrolResponse) -> bool {
    let count = response.answers.len();
    assert!(read_answers(response.clone(), count + 1).is_err());
    let read = |response| read_answers(response, count).expect("one answer for each");
    let answers = read(response);
    let again = answers.iter().cloned().map(answer).collect();
    let again = read(EnrolResponse { answers: again });
    for pair in answers.iter().zip(&again) {
        match pair {
            (Ok(one), Ok(other)) => assert_eq!(one, other),
            (Err(one), Err(other)) => are_equal(one, other),
            pair => panic!("another answer: {pair:?}"),
        }
    }
    answers.iter().flatten().any(is_complete)
}

fn are_equal(one: &Status, other: &Status) {
    assert_ne!(one.code(), Code::Ok, "a refusal is no success");
    assert_eq!((one.code(), one.message()), (other.code(), other.message()));
    let pushback = |status: &Status| format!("{:?}", status.metadata());
    assert_eq!(pushback(one), pushback(other));
}

/// Its times are read, as a sidecar does it.
fn is_complete(enrolled: &Enrolled) -> bool {
    let times = [enrolled.issued_at, enrolled.not_after];
    times
        .into_iter()
        .all(|time| read_timestamp("time", time).is_ok())
}

/// A request of two keys; a response with what was certified and two refusals.
pub fn seeds() -> Vec<Vec<u8>> {
    let enrolment = |name: &str| Enrolment {
        entitlement: name.to_owned(),
        key: Some(KeyProof {
            spki: vec![0x30; 91],
            signature_scheme: 0x0403,
            signature: vec![0x30; 71],
        }),
    };
    let names = ["node", "reg-00112233445566778899aabbccddeeff"];
    let request = EnrolRequest {
        enrolments: names.map(enrolment).to_vec(),
    };
    let enrolled = Enrolled {
        serial: vec![7; 16],
        issued_at: Some(timestamp(now())),
        not_after: Some(timestamp(now())),
    };
    let mut busy = Status::resource_exhausted("too much to do");
    let asked = tonic::metadata::MetadataValue::from(1_500_u64);
    busy.metadata_mut()
        .insert(countersign_proto::RETRY_PUSHBACK, asked);
    let answers = [
        Ok(enrolled),
        Err(busy),
        Err(Status::permission_denied("no")),
    ];
    let response = EnrolResponse {
        answers: answers.map(answer).to_vec(),
    };
    vec![request.encode_to_vec(), response.encode_to_vec()]
}
