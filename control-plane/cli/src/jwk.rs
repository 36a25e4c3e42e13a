//! A trust bundle as the JWK set of SPIFFE_Trust_Domain_and_Bundle.md section 4: one key a root,
//! `use` is `x509-svid`, `x5c` holds exactly the root itself and there is no `kid`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_cli::{Exit, Failure};
use serde::Serialize;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// How often a consumer should look again, in seconds.
const REFRESH_HINT_SECS: u64 = 300;

#[derive(Debug, Serialize)]
pub(crate) struct BundleDocument {
    keys: Vec<Jwk>,
    spiffe_sequence: u64,
    spiffe_refresh_hint: u64,
}

#[derive(Debug, Serialize)]
struct Jwk {
    #[serde(rename = "use")]
    usage: &'static str,
    #[serde(flatten)]
    parameters: Parameters,
    x5c: [String; 1],
}

#[derive(Debug, Serialize)]
#[serde(tag = "kty")]
enum Parameters {
    #[serde(rename = "EC")]
    EllipticCurve {
        crv: &'static str,
        x: String,
        y: String,
    },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

pub(crate) fn bundle(roots: &[impl AsRef<[u8]>], sequence: u64) -> Result<BundleDocument, Failure> {
    let keys = roots
        .iter()
        .map(|root| jwk(root.as_ref()))
        .collect::<Option<_>>();
    let keys = keys.ok_or_else(|| {
        Failure::new(
            Exit::Bug,
            "unknown_root_key",
            "a root has a key that has no JWK form",
            "use --format pem",
        )
    })?;
    Ok(BundleDocument {
        keys,
        spiffe_sequence: sequence,
        spiffe_refresh_hint: REFRESH_HINT_SECS,
    })
}

fn jwk(root: &[u8]) -> Option<Jwk> {
    let (_, certificate) = X509Certificate::from_der(root).ok()?;
    let parameters = match certificate.public_key().parsed().ok()? {
        PublicKey::EC(point) => elliptic_curve(point.data())?,
        PublicKey::RSA(rsa) => Parameters::Rsa {
            n: integer(rsa.modulus),
            e: integer(rsa.exponent),
        },
        _ => return None,
    };
    Some(Jwk {
        usage: "x509-svid",
        parameters,
        x5c: [STANDARD.encode(root)],
    })
}

/// An uncompressed point (SEC 1 section 2.3.3): the coordinates keep their leading zeros
/// (RFC 7518 section 6.2.1.2).
fn elliptic_curve(point: &[u8]) -> Option<Parameters> {
    let (&form, coordinates) = point.split_first()?;
    let crv = match (form, coordinates.len()) {
        (4, 64) => "P-256",
        (4, 96) => "P-384",
        (4, 132) => "P-521",
        _ => return None,
    };
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    Some(Parameters::EllipticCurve {
        crv,
        x: URL_SAFE_NO_PAD.encode(x),
        y: URL_SAFE_NO_PAD.encode(y),
    })
}

/// A DER INTEGER without its sign octet (RFC 7518 section 6.3.1.1).
fn integer(der: &[u8]) -> String {
    let zeros = der.iter().take_while(|&&byte| byte == 0).count();
    URL_SAFE_NO_PAD.encode(&der[zeros..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(algorithm: &'static rcgen::SignatureAlgorithm) -> (serde_json::Value, Vec<u8>) {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = parameters.self_signed(&key).unwrap().der().to_vec();
        let document = serde_json::to_value(bundle(&[&root], 7).unwrap()).unwrap();
        (document, root)
    }

    #[test]
    fn elliptic_curve_roots_are_standard_keys() {
        let (document, root) = document(&rcgen::PKCS_ECDSA_P256_SHA256);
        let key = &document["keys"][0];
        assert_eq!((&key["kty"], &key["crv"]), (&"EC".into(), &"P-256".into()));
        assert_eq!(key["use"], "x509-svid");
        assert_eq!(key["x5c"], serde_json::json!([STANDARD.encode(root)]));
        for coordinate in ["x", "y"] {
            let text = key[coordinate].as_str().unwrap();
            assert_eq!(URL_SAFE_NO_PAD.decode(text).unwrap().len(), 32);
        }
        assert!(key.get("kid").is_none());
        assert_eq!(document["spiffe_sequence"], 7);
        assert_eq!(document["spiffe_refresh_hint"], 300);
    }

    #[test]
    fn keys_without_a_jwk_form_are_refused() {
        assert!(elliptic_curve(&[2; 33]).is_none());
        assert!(bundle(&[b"no certificate"], 1).is_err());
    }
}
