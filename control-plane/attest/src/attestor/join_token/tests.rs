use countersign_model::Seq;

use super::super::{Known, of_evidence};
use super::*;
use countersign_proto::mesh::attest_node_request::Evidence;

const TEXT: &str = "0123456789abcdef";
const KEY: [u8; 32] = [1; 32];

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn facts(key: [u8; 32], second: i64) -> SessionFacts {
    SessionFacts {
        spki_sha256: key,
        exporter: [7; 32],
        now: at(second),
    }
}

/// One token for this node, good until 60 s.
fn tokens(node: SpiffeId) -> Tokens {
    let token = Token {
        node,
        expires_at: at(60),
        used_at: None,
        used_by: None,
        is_revoked: false,
    };
    let mut tokens = Tokens::default();
    let known = KnownToken { token, seq: Seq(3) };
    tokens.insert(TokenHash::of(TEXT).unwrap(), known);
    tokens
}

fn judge(tokens: &Tokens, text: &str, facts: &SessionFacts) -> Result<Verdict, Denied> {
    let evidence = Evidence::JoinToken(JoinTokenEvidence {
        token: text.to_owned(),
    });
    let attestor = of_evidence(&evidence, Known { tokens });
    let verdict = attestor.judge(facts);
    let screened = attestor.screen(facts);
    assert_eq!(screened.err(), verdict.as_ref().err().cloned());
    verdict
}

/// The verdict on an unused token of a node.
pub(crate) fn verdict(node: SpiffeId) -> Attestation {
    match judge(&tokens(node), TEXT, &facts(KEY, 1)) {
        Ok(Verdict::Attests(attestation)) => attestation,
        other => panic!("{other:?}"),
    }
}

fn node() -> SpiffeId {
    SpiffeId::new("spiffe://example.org/node/a").unwrap()
}

#[test]
fn unused_token_is_spent_for_its_node_and_key() {
    let attestation = verdict(node());
    assert_eq!(attestation.node(), &node());
    assert_eq!(attestation.method(), Method::JoinToken);
    let spent = attestation.spent().unwrap();
    assert_eq!(spent.unchanged_since(), Seq(3), "as it was judged");
    assert_eq!(spent.hash(), &TokenHash::of(TEXT).unwrap());
    assert_eq!(spent.token().used_at, Some(at(1)));
    assert!(spent.token().was_used_by(&KEY) && !spent.token().was_used_by(&[2; 32]));
    assert_eq!(spent.used().code, "token_used");
}

#[test]
fn spent_token_repeats_for_its_key_alone() {
    let mut tokens = tokens(node());
    let spent = verdict(node()).spent().unwrap().clone();
    let known = KnownToken {
        token: spent.token().clone(),
        seq: Seq(9),
    };
    tokens.insert(spent.hash().clone(), known);
    // How long it is good for is judged by what it began.
    match judge(&tokens, TEXT, &facts(KEY, 600)) {
        Ok(Verdict::Repeats(again)) => {
            assert_eq!(again.node(), &node());
            assert_eq!((again.lineage(), again.until()), (Seq(9), at(60)));
            assert_eq!(again.used().code, "token_used");
        }
        other => panic!("{other:?}"),
    }
    let thief = judge(&tokens, TEXT, &facts([2; 32], 2));
    assert_eq!(thief.unwrap_err().code, "token_used");
}

#[test]
fn what_is_no_good_token_is_refused_by_name() {
    let mut tokens = tokens(node());
    let code = |tokens: &Tokens, text: &str, second| {
        let refused = judge(tokens, text, &facts(KEY, second));
        refused.unwrap_err().code
    };
    assert_eq!(code(&tokens, "", 1), "token_unknown");
    assert_eq!(code(&tokens, "fedcba9876543210", 1), "token_unknown");
    assert_eq!(code(&tokens, TEXT, 61), "token_expired");
    let hash = TokenHash::of(TEXT).unwrap();
    let mut known = tokens.get(&hash).unwrap().clone();
    known.token = known.token.revoked(at(1));
    tokens.insert(hash, known);
    assert_eq!(code(&tokens, TEXT, 1), "token_revoked");
}

#[test]
fn holder_is_told_and_a_guesser_is_not() {
    let mut tokens = tokens(node());
    let told = |tokens: &Tokens, text: &str, second| {
        let evidence = Evidence::JoinToken(JoinTokenEvidence {
            token: text.to_owned(),
        });
        of_evidence(&evidence, Known { tokens }).told_to_holder(at(second))
    };
    assert_eq!(told(&tokens, TEXT, 1), None, "a good token is tried");
    for guess in [
        "",
        "fedcba9876543210",
        "0123456789abcdeF",
        " 0123456789abcdef",
    ] {
        assert_eq!(told(&tokens, guess, 61), None, "{guess}");
    }
    let expired = told(&tokens, TEXT, 61).unwrap();
    assert_eq!(expired.code, "token_expired");
    assert_eq!(
        expired.message,
        "this join token has expired, at 1970-01-01T00:01:00Z"
    );
    let spent = verdict(node()).spent().unwrap().clone();
    let known = |token| KnownToken { token, seq: Seq(9) };
    tokens.insert(spent.hash().clone(), known(spent.token().clone()));
    let used = told(&tokens, TEXT, 61).unwrap();
    assert_eq!(
        used.message,
        "this join token was used, at 1970-01-01T00:00:01Z"
    );
    tokens.insert(spent.hash().clone(), known(spent.token().revoked(at(1))));
    let revoked = told(&tokens, TEXT, 2).unwrap();
    assert_eq!(revoked.message, "this join token was taken back");
    for told in [expired, used, revoked] {
        assert!(!told.message.contains("node"), "nor whose it is: {told:?}");
        assert!(told.remedy.contains("countersign token create"));
    }
}

#[derive(Debug)]
struct Fixed(Option<u8>);

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        bytes.fill(self.0.ok_or(NoEntropy)?);
        Ok(())
    }
}

#[test]
fn token_is_made_of_the_entropy_alone() {
    let made = generate(&Fixed(Some(0xab))).unwrap();
    assert_eq!(made, "ab".repeat(32));
    assert!(TokenHash::of(&made).is_some(), "it has our shape");
    generate(&Fixed(None)).unwrap_err();
}
