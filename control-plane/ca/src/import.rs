//! Judges what a root that is not ours answered to our request: an intermediate that nothing
//! refuses later, or a rule with a name. Pure: certificates and `now` in, [`Imported`] or the one
//! [`ImportError`] out. Nothing that was given is trusted before it passed.

mod facts;

use countersign_issue::profile::Tier;
use countersign_model::TrustDomain;
use countersign_verify::TrustBundle;
use countersign_verify::bundle::MAX_ROOT_BYTES;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::authorities::CaRecord;
use super::key::StoreKind;
use facts::Facts;

/// CA certificates below a root on a path: the intermediate and the issuing CA.
const ROOT_PATH_LENGTH: u32 = 2;
/// CA certificates below an intermediate on a path: the issuing CA.
const INTERMEDIATE_PATH_LENGTH: u32 = 1;

/// A rule that an import breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct ImportError {
    /// Stable name of the rule, `snake_case`.
    pub rule: &'static str,
    /// Which certificate: "intermediate", "root" or "chain".
    pub what: &'static str,
    /// The problem.
    pub problem: String,
    /// The remedy.
    pub remedy: &'static str,
}

/// The state that an import is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The key that was asked a certificate for: SubjectPublicKeyInfo, DER.
    pub spki: &'a [u8],
    /// The common name that was asked for.
    pub common_name: &'a str,
    /// Ours.
    pub trust_domain: &'a TrustDomain,
    /// An issuing CA under it must be able to live as long as it shall.
    pub needed_until: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// An intermediate for our key and the root that signed it.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The one that we asked for.
    pub intermediate: Foreign,
    /// The one above it.
    pub root: Foreign,
}

/// A CA certificate that another CA made.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The id of its key.
    pub key_id: String,
    /// Subject key identifier, lower-case hex.
    pub key_identifier: String,
    /// Serial, lower-case hex.
    pub serial: String,
    /// NotBefore.
    pub not_before: Timestamp,
    /// NotAfter.
    pub not_after: Timestamp,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

impl Foreign {
    /// The certificate as a record of ours, with its place in the hierarchy.
    pub fn into_record(
        self,
        tier: Tier,
        store: Option<StoreKind>,
        issued_by: &str,
        now: Timestamp,
    ) -> CaRecord {
        CaRecord {
            key_id: self.key_id,
            tier,
            owner: String::new(),
            store,
            key_identifier: self.key_identifier,
            serial: self.serial,
            issued_by: issued_by.to_owned(),
            issued_at: now,
            not_before: self.not_before,
            not_after: self.not_after,
            certificate: self.certificate,
        }
    }
}

/// Judges an intermediate (`chain`, its root may follow) and its root.
pub fn judge(
    chain: &[CertificateDer<'static>],
    root: &CertificateDer<'static>,
    expected: &Expected<'_>,
) -> Result<Imported, ImportError> {
    let intermediate = alone(chain, root)?;
    let root_facts = read("root", root)?;
    let facts = read("intermediate", intermediate)?;
    check_ours(&facts, expected)?;
    check_ca(&root_facts, ROOT_PATH_LENGTH, expected)?;
    check_ca(&facts, INTERMEDIATE_PATH_LENGTH, expected)?;
    check_signatures(&facts, &root_facts)?;
    check_ends(&facts, &root_facts, expected)?;
    Ok(Imported {
        intermediate: facts.into_foreign(intermediate)?,
        root: root_facts.into_foreign(root)?,
    })
}

/// The one certificate of a chain that may be imported. A leaf is presented with its issuing CA and
/// the intermediate, so there is no room for a CA between the intermediate and its root.
fn alone<'c>(
    chain: &'c [CertificateDer<'static>],
    root: &CertificateDer<'static>,
) -> Result<&'c CertificateDer<'static>, ImportError> {
    let only = match chain {
        [only] => Some(only),
        [only, last] if last == root => Some(only),
        _ => None,
    };
    only.ok_or_else(|| ImportError {
        rule: "import_chain",
        what: "chain",
        problem: format!("{} certificates where 1 is expected", chain.len()),
        remedy: "give the certificate of the intermediate, signed by the root itself",
    })
}

fn read<'c>(what: &'static str, der: &'c CertificateDer<'_>) -> Result<Facts<'c>, ImportError> {
    let facts = (der.len() <= MAX_ROOT_BYTES).then(|| Facts::read(what, der));
    facts.flatten().ok_or_else(|| ImportError {
        rule: "import_malformed",
        what,
        problem: format!("is no X.509 certificate of at most {MAX_ROOT_BYTES} bytes"),
        remedy: "give PEM CERTIFICATE blocks, as the CA made them",
    })
}

fn check_ours(facts: &Facts<'_>, expected: &Expected<'_>) -> Result<(), ImportError> {
    facts.require(
        facts.spki() == expected.spki,
        "import_other_key",
        "is not for the key of the newest request",
        "have the request of `countersign ca csr` signed, and import that certificate",
    )?;
    facts.require(
        facts.has_subject(expected.common_name),
        "import_subject",
        "has another subject than the request, or in another encoding",
        "have the request signed with its subject unchanged",
    )
}

fn check_ca(
    facts: &Facts<'_>,
    path_length: u32,
    expected: &Expected<'_>,
) -> Result<(), ImportError> {
    facts.require(
        facts.is_ca(),
        "import_not_a_ca",
        "is no CA certificate",
        "have it signed with basicConstraints CA:TRUE",
    )?;
    facts.require(
        facts.path_length().is_none_or(|most| most >= path_length),
        "import_path_length",
        "has a path length that is too short for an issuing CA below the intermediate",
        "the intermediate needs path length 1 or more, its root 2 or more, or none",
    )?;
    facts.require(
        facts.may_sign_certificates(),
        "import_key_usage",
        "may not sign certificates",
        "have it signed with keyUsage keyCertSign, cRLSign",
    )?;
    facts.require(
        !facts.has_name_constraints(),
        "import_name_constraints",
        "has name constraints, which relying parties refuse",
        "have it signed without name constraints; the trust domain is fenced by its bundle",
    )?;
    let as_issuer = vec![facts.certificate()];
    let judged = TrustBundle::new(expected.trust_domain.clone(), as_issuer);
    judged.map(drop).map_err(|error| ImportError {
        rule: "import_refused_by_verifier",
        what: facts.what(),
        problem: error.to_string(),
        remedy: "have it signed as the request asks for it",
    })
}

fn check_signatures(facts: &Facts<'_>, root: &Facts<'_>) -> Result<(), ImportError> {
    for it in [root, facts] {
        it.check_algorithm()?;
    }
    root.require(
        root.is_signed_by(root),
        "import_root_not_self_signed",
        "is not signed by itself",
        "give the root, the end of the chain, as --root",
    )?;
    facts.require(
        facts.is_signed_by(root),
        "import_other_root",
        "is not signed by this root",
        "give the root that signed it as --root",
    )?;
    facts.require(
        facts.has_other_name_than(root),
        "import_subject",
        "has the same subject as its root",
        "have the request signed with its subject unchanged",
    )
}

fn check_ends(
    facts: &Facts<'_>,
    root: &Facts<'_>,
    expected: &Expected<'_>,
) -> Result<(), ImportError> {
    for it in [root, facts] {
        it.require(
            it.not_before() <= expected.now && expected.now < it.not_after(),
            "import_validity",
            "is not valid now",
            "check the clock, or have it signed anew",
        )?;
    }
    facts.require(
        facts.not_after() <= root.not_after(),
        "import_outlives_root",
        "ends after its root",
        "have it signed for a shorter time, or under a newer root",
    )?;
    facts.require(
        facts.not_after() >= expected.needed_until,
        "import_too_short",
        "ends before an issuing CA under it would",
        "have it signed for longer, or lower ca.issuing_ttl",
    )
}

#[cfg(test)]
mod tests;
