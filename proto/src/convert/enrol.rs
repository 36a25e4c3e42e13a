//! Answers to the enrolments of one call: each is what a call of its own would have ended with, so
//! in a handler and in a client it is a value or a gRPC status.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::{ConvertError, Problem};
use crate::RETRY_PUSHBACK;
use crate::mesh::enrol_answer::Answer;
use crate::mesh::{EnrolAnswer, EnrolResponse, Enrolled, Refusal};

/// Most characters that are kept of what a refusal says. In the trailer of a call its length is
/// bounded by HTTP/2, in a message by that of the whole message alone.
const MAX_REFUSAL_CHARS: usize = 1_000;

/// Writes what became of one enrolment.
pub fn answer(outcome: Result<Enrolled, Status>) -> EnrolAnswer {
    let answer = outcome.map_or_else(|status| Answer::Refusal(refusal(&status)), Answer::Enrolled);
    EnrolAnswer {
        answer: Some(answer),
    }
}

/// Reads what became of each enrolment of a call.
///
/// # Errors
/// Not one answer for each.
pub fn read_answers(
    response: EnrolResponse,
    enrolments: usize,
) -> Result<Vec<Result<Enrolled, Status>>, ConvertError> {
    if response.answers.len() != enrolments {
        return Err(Problem::NotA("one answer for each enrolment").of("answers"));
    }
    let answers = response.answers.into_iter();
    Ok(answers.map(read_answer).collect())
}

fn read_answer(answer: EnrolAnswer) -> Result<Enrolled, Status> {
    match answer.answer {
        Some(Answer::Enrolled(enrolled)) => Ok(enrolled),
        Some(Answer::Refusal(refusal)) => Err(status(&refusal)),
        None => Err(Status::internal("an enrolment was not answered")),
    }
}

fn refusal(status: &Status) -> Refusal {
    let asked = status.metadata().get(RETRY_PUSHBACK);
    Refusal {
        code: u32::from(status.code() as u16),
        message: status.message().to_owned(),
        retry_after_ms: asked.and_then(|asked| asked.to_str().ok()?.parse().ok()),
    }
}

/// A refusal is never good news, whatever number it bears, nor a flood of text, for it is logged.
fn status(refusal: &Refusal) -> Status {
    let code = i32::try_from(refusal.code).map_or(Code::Unknown, Code::from_i32);
    let code = match code {
        Code::Ok => Code::Unknown,
        code => code,
    };
    let message: String = refusal.message.chars().take(MAX_REFUSAL_CHARS).collect();
    let mut status = Status::new(code, message);
    if let Some(asked) = refusal.retry_after_ms {
        let asked = MetadataValue::from(asked);
        status.metadata_mut().insert(RETRY_PUSHBACK, asked);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(outcome: Result<Enrolled, Status>) -> Result<Enrolled, Status> {
        read_answer(answer(outcome))
    }

    fn pushed_back(asked: &'static str) -> Status {
        let mut status = Status::resource_exhausted("too much");
        let asked = asked.parse().unwrap();
        status.metadata_mut().insert(RETRY_PUSHBACK, asked);
        status
    }

    #[test]
    fn an_answer_is_what_a_call_of_its_own_would_end_with() {
        let enrolled = Enrolled {
            serial: vec![7; 16],
            ..Enrolled::default()
        };
        assert_eq!(again(Ok(enrolled.clone())).unwrap(), enrolled);
        for code in (1..=16).map(Code::from_i32) {
            let status = again(Err(Status::new(code, "no"))).unwrap_err();
            assert_eq!((status.code(), status.message()), (code, "no"));
            assert!(status.metadata().is_empty());
        }
        let status = again(Err(pushed_back("1500"))).unwrap_err();
        assert_eq!(status.metadata().get(RETRY_PUSHBACK).unwrap(), "1500");
        let status = again(Err(pushed_back("soon"))).unwrap_err();
        assert!(status.metadata().is_empty(), "a wrong time is none");
    }

    #[test]
    fn a_refusal_is_never_read_as_success() {
        for code in [0, 17, u32::MAX] {
            let refusal = Refusal {
                code,
                ..Refusal::default()
            };
            assert_eq!(status(&refusal).code(), Code::Unknown, "{code}");
        }
        assert!(read_answer(EnrolAnswer::default()).is_err());
    }

    #[test]
    fn a_refusal_of_many_words_is_cut() {
        let told = again(Err(Status::internal("é".repeat(10_000)))).unwrap_err();
        assert_eq!(told.message(), "é".repeat(MAX_REFUSAL_CHARS));
    }

    #[test]
    fn every_enrolment_has_one_answer() {
        let response = |count| EnrolResponse {
            answers: vec![answer(Ok(Enrolled::default())); count],
        };
        assert_eq!(read_answers(response(2), 2).unwrap().len(), 2);
        for (answers, enrolments) in [(0, 1), (1, 2), (2, 1)] {
            assert!(read_answers(response(answers), enrolments).is_err());
        }
    }
}
