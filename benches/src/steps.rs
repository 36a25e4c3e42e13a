//! The steps before a signature, one at a time: the same functions that the control plane calls, on
//! one registration and one key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_admission::{Caller, Class, Counts, Gate, Gates, Limits, MAX_WAIT, Rate};
use countersign_attest::AttestedNode;
use countersign_attest::attestor::{Known, SessionFacts, Verdict, of_evidence};
use countersign_attest::join_token::{KnownToken, Token, TokenHash, Tokens};
use countersign_attest::nodes::Nodes;
use countersign_ca::entries;
use countersign_issue::issuance::Issuance;
use countersign_issue::key::refused::RefusedKeys;
use countersign_issue::key::{PublicKey, key_id};
use countersign_issue::lint::{self, Candidate};
use countersign_issue::profile::{Issuer, ProfileTimes, Subject, Tier, ca_name};
use countersign_issue::template;
use countersign_model::{
    Coordinate, Criticality, EntitlementId, Lifetime, Registration, RegistrationKey, RenewalWindow,
    Selector, SelectorSet, Seq, Serial, SpiffeId,
};
use countersign_proto::mesh::JoinTokenEvidence;
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_registry::{Defaults, Kept, Policy, Registry, authorize};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};

const TTL: Duration = Duration::from_secs(3_600);
const LOG_ID: u32 = 1 << 20;

/// A node that attested with a join token.
fn attested(id: &SpiffeId, now: Timestamp) -> AttestedNode {
    let token = Token {
        node: id.clone(),
        expires_at: now,
        used_at: None,
        used_by: None,
        is_revoked: false,
    };
    let text = "0123456789abcdef".to_owned();
    let hash = TokenHash::of(&text).expect("it has the shape of a token");
    let mut tokens = Tokens::default();
    tokens.insert(hash, KnownToken { token, seq: Seq(1) });
    let evidence = Evidence::JoinToken(JoinTokenEvidence { token: text });
    let facts = SessionFacts {
        spki_sha256: [0; 32],
        exporter: [0; 32],
        now,
    };
    let attestor = of_evidence(&evidence, Known { tokens: &tokens });
    let Ok(Verdict::Attests(verdict)) = attestor.judge(&facts) else {
        panic!("the token is good")
    };
    let mut nodes = Nodes::default();
    let stored = verdict.stored(None, now);
    nodes.written(id, stored, Seq(2));
    let node = nodes.of_lineage(id, Seq(2));
    node.expect("it is the newest attestation")
}

/// One registration, one node, one key, and what is known of the CA that would sign.
pub struct Steps {
    registry: Registry,
    node: AttestedNode,
    entitlement: EntitlementId,
    spki: Vec<u8>,
    key: PublicKey,
    issuer: Issuer,
    refused: Arc<RefusedKeys>,
    serial: Serial,
    now: Timestamp,
    /// What was prepared once, to be judged and written again and again.
    issuance: Issuance,
    gate: Arc<Gate<Caller>>,
    caller: Caller,
}

impl Steps {
    /// For a SubjectPublicKeyInfo that may be certified.
    ///
    /// # Panics
    /// It may not.
    pub fn new(spki: &[u8]) -> Self {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000);
        let node = id("/node/a");
        let selectors = SelectorSet::new([Selector::UnixUid(1_000)]).expect("it is not empty");
        let key = RegistrationKey::on_node(id("/web"), node.clone(), selectors);
        let entitlement = key.entitlement_id();
        let caller = Caller::Node(node.clone());
        let node = attested(&node, now);
        let mut steps = Self {
            registry: registry(key, now),
            node,
            entitlement,
            spki: spki.to_vec(),
            key: PublicKey::read(spki).expect("the key may be certified"),
            issuer: issuer(now),
            refused: Arc::default(),
            serial: Serial::new(LOG_ID, 1, [7; 8]).expect("a coordinate of a log"),
            now,
            issuance: unprepared(now),
            gate: Gate::new(limits(), Gates::default().of("signing")),
            caller,
        };
        steps.issuance.tbs = steps.build();
        steps.issuance.entitlement = steps.entitlement.to_string();
        steps
    }

    /// Passes the admission queue, and leaves it.
    pub fn admit(&self) -> bool {
        let entered = self.gate.enter(&self.caller, || Class::First);
        entered
            .now_or_never()
            .is_some_and(|entered| entered.is_ok())
    }

    /// Authorizes by registration and policy.
    pub fn authorize(&self) -> bool {
        authorize(&self.registry, &self.node, &self.entitlement, self.now).is_ok()
    }

    /// Reads the key and judges it.
    pub fn judge_key(&self) -> bool {
        let key = PublicKey::read(&self.spki);
        key.is_ok_and(|key| self.refused.check(&key).is_ok())
    }

    /// Builds the to-be-signed certificate.
    pub fn build(&self) -> Vec<u8> {
        let subject = self.subject();
        let built = template::build(
            &subject,
            &self.key,
            self.serial,
            &self.issuer,
            &self.lifetime(),
        );
        built.expect("the subject is one of ours")
    }

    /// Reads the to-be-signed certificate back and applies every rule.
    pub fn lint(&self, prepared: &Prepared) -> bool {
        let candidate = Candidate {
            subject: &prepared.subject,
            key: &self.key,
            issuer: &self.issuer,
            lifetime: &prepared.lifetime,
            serial: self.serial,
        };
        lint::check(&self.issuance.tbs, &candidate).is_ok()
    }

    /// What [`lint`](Self::lint) compares with.
    pub fn prepared(&self) -> Prepared {
        Prepared {
            subject: self.subject(),
            lifetime: self.lifetime(),
        }
    }

    /// Writes the entry of the log.
    pub fn encode_entry(&self) -> Vec<u8> {
        entries::encode(self.now, entries::issued(&self.issuance))
    }

    fn subject(&self) -> Subject {
        let authorized = authorize(&self.registry, &self.node, &self.entitlement, self.now);
        let authorized = authorized.expect("the registration allows it");
        Subject::svid(authorized, &ProfileTimes::default(), self.refused.clone())
    }

    fn lifetime(&self) -> Lifetime {
        Lifetime {
            issued_at: self.now,
            not_after: self.now + TTL,
        }
    }
}

/// What a to-be-signed certificate is judged against.
pub struct Prepared {
    subject: Subject,
    lifetime: Lifetime,
}

fn id(path: &str) -> SpiffeId {
    SpiffeId::new(&format!("spiffe://example.org{path}")).expect("a path of ours")
}

fn registry(key: RegistrationKey, now: Timestamp) -> Registry {
    let defaults = Defaults {
        ttl: TTL,
        renew: RenewalWindow::default(),
        backdate: Duration::from_secs(60),
    };
    let mut registry = Registry::new(defaults, Policy::default());
    registry.insert(Kept {
        registration: Registration {
            key,
            owner: "team-web".to_owned(),
            criticality: Criticality::default(),
            labels: BTreeMap::from([("env".to_owned(), "production".to_owned())]),
            x509_ttl: None,
            dns: vec!["web.example.org".to_owned()],
            hint: None,
            is_default: false,
            expires_at: None,
            created_at: now,
            created_seq: 1,
        },
        key_epoch: 0,
        raised_at: None,
        began: None,
    });
    registry
}

fn issuer(now: Timestamp) -> Issuer {
    let day = SignedDuration::from_hours(24);
    let key_id = key_id(b"issuer");
    Issuer {
        key_identifier: key_id.clone(),
        common_name: ca_name(Tier::Issuing, &key_id),
        key_id,
        not_before: now - day,
        not_after: now + day,
    }
}

fn unprepared(now: Timestamp) -> Issuance {
    Issuance {
        serial: Serial::new(LOG_ID, 1, [7; 8]).expect("a coordinate of a log"),
        profile: countersign_issue::profile::Profile::Svid,
        spiffe_id: id("/web").to_string(),
        node: id("/node/a").to_string(),
        entitlement: String::new(),
        spki_sha256: [7; 32],
        issuer: key_id(b"issuer"),
        issued_at: now,
        not_after: now + TTL,
        tbs: Vec::new(),
        account: Default::default(),
        renews: Coordinate::new(LOG_ID, 0).ok(),
        key_epoch: Some(0),
        attested: Some(Seq(1)),
        order: 1,
    }
}

/// Room for whoever comes: what a call costs where nobody waits.
fn limits() -> Limits {
    Limits {
        max_in_flight: 128,
        max_queued: 32_768,
        max_queued_per_caller: 1_024,
        max_wait: MAX_WAIT,
        rate: Rate::new(1_000_000, 1_000_000),
        counts: Counts::Calls,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData};

    use super::*;

    #[test]
    fn every_step_of_a_bench_succeeds() {
        let key = KeyPair::generate().unwrap();
        let steps = Steps::new(&key.subject_public_key_info());
        assert!(steps.admit() && steps.admit(), "the place is given back");
        assert!(steps.authorize());
        assert!(steps.judge_key());
        assert!(steps.lint(&steps.prepared()));
        assert!(!steps.encode_entry().is_empty());
    }
}
