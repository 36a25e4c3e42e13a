//! Encodings that the template cannot be told to make: edited in the bytes.

use super::*;
use crate::der::element;
use crate::profile::Profile::Svid;

const SEQUENCE: u8 = 0x30;

/// A good certificate, taken apart into its fields.
struct Parts {
    intent: Intent,
    fields: Vec<Vec<u8>>,
}

/// Places of the fields (RFC 5280 section 4.1).
const VERSION: usize = 0;
const SERIAL: usize = 1;
const SIGNATURE: usize = 2;
const VALIDITY: usize = 4;
const EXTENSIONS: usize = 7;

impl Parts {
    fn new() -> Self {
        let intent = Intent::new(Svid);
        let tbs = intent.seal(&intent.params());
        let fields = elements(content(&tbs));
        Self { intent, fields }
    }

    fn judge(&self) -> Option<&'static str> {
        self.intent.judge(&element(SEQUENCE, &self.fields.concat()))
    }

    /// The extensions, one element each.
    fn extensions(&self) -> Vec<Vec<u8>> {
        elements(content(content(&self.fields[EXTENSIONS])))
    }

    fn set_extensions(&mut self, extensions: &[Vec<u8>]) {
        let list = element(SEQUENCE, &extensions.concat());
        self.fields[EXTENSIONS] = element(0xa3, &list);
    }
}

/// The rule that is broken once the fields of a certificate were changed.
fn edited(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Option<&'static str> {
    let mut parts = Parts::new();
    change(&mut parts.fields);
    parts.judge()
}

fn content(element: &[u8]) -> &[u8] {
    split(element).1
}

fn elements(mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (after, _) = split(rest);
        found.push(rest[..rest.len() - after.len()].to_vec());
        rest = after;
    }
    found
}

/// What follows an element, and its content.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    use x509_parser::asn1_rs::{Any, FromDer};
    let (rest, any) = Any::from_der(bytes).unwrap();
    (rest, any.data)
}

#[test]
fn untouched_parts_pass() {
    assert_eq!(edited(|_| ()), None);
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let intent = Intent::new(Svid);
    let tbs = intent.seal(&intent.params());
    let trailing = [tbs.as_slice(), &[0]].concat();
    let cut = &tbs[..tbs.len() - 1];
    for bytes in [&[][..], &[0x30, 0x80], &[0xff; 91], &trailing, cut] {
        assert_eq!(intent.judge(bytes), Some("der"));
    }
}

#[test]
fn other_version_is_refused() {
    let v2 = vec![0xa0, 3, 2, 1, 1];
    assert_eq!(edited(|fields| fields[VERSION] = v2), Some("version"));
}

#[test]
fn serial_in_another_encoding_is_refused() {
    for (prefix, name) in [(0x00, "with a leading zero"), (0x80, "negative")] {
        let rule = edited(|fields| {
            let bytes = content(&fields[SERIAL]).to_vec();
            fields[SERIAL] = element(0x02, &[&[prefix], bytes.as_slice()].concat());
        });
        assert!(matches!(rule, Some("serial" | "der")), "{name}: {rule:?}");
    }
    let rule = edited(|fields| fields[SERIAL] = element(0x02, &[1; 21]));
    assert_eq!(rule, Some("serial"));
}

#[test]
fn signature_algorithm_of_another_issuer_is_refused() {
    // ecdsa-with-SHA384, and ecdsa-with-SHA256 with a parameter that must be absent.
    let sha384 = vec![
        0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03,
    ];
    let with_null = vec![
        0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02, 0x05, 0x00,
    ];
    for algorithm in [sha384, with_null] {
        let rule = edited(|fields| fields[SIGNATURE] = algorithm);
        assert_eq!(rule, Some("signature_algorithm"));
    }
}

#[test]
fn time_in_another_encoding_is_refused() {
    // The end of the certificate, in the form for years from 2050 on.
    let rule = edited(|fields| {
        let times = elements(content(&fields[VALIDITY]));
        let late = [b"20", content(&times[1])].concat();
        let times = [times[0].clone(), element(0x18, &late)].concat();
        fields[VALIDITY] = element(SEQUENCE, &times);
    });
    assert_eq!(rule, Some("time_encoding"));
}

#[test]
fn unique_identifier_is_refused() {
    for tag in [0x81, 0x82] {
        let identifier = element(tag, &[0, 1]);
        let rule = edited(|fields| fields.insert(EXTENSIONS, identifier));
        assert_eq!(rule, Some("unique_ids"), "{tag:#x}");
    }
}

#[test]
fn wrong_criticality_of_any_extension_is_refused() {
    const CRITICAL: [u8; 3] = [1, 1, 0xff];
    let count = Parts::new().extensions().len();
    assert_eq!(count, 6);
    for place in 0..count {
        let mut parts = Parts::new();
        let mut extensions = parts.extensions();
        let mut fields = elements(content(&extensions[place]));
        if fields[1] == CRITICAL {
            fields.remove(1);
        } else {
            fields.insert(1, CRITICAL.to_vec());
        }
        extensions[place] = element(SEQUENCE, &fields.concat());
        parts.set_extensions(&extensions);
        assert_eq!(parts.judge(), Some("extensions_critical"), "{place}");
    }
}

#[test]
fn authority_key_identifier_with_more_is_refused() {
    let mut parts = Parts::new();
    let mut extensions = parts.extensions();
    let place = extensions
        .iter()
        .position(|extension| extension.windows(3).any(|oid| oid == [0x55, 0x1d, 0x23]))
        .unwrap();
    let fields = elements(content(&extensions[place]));
    let value = content(content(&fields[1]));
    // And the issuer's serial, without its name.
    let more = element(SEQUENCE, &[value, &[0x82, 1, 1]].concat());
    let fields = [fields[0].clone(), element(0x04, &more)].concat();
    extensions[place] = element(SEQUENCE, &fields);
    parts.set_extensions(&extensions);
    assert_eq!(parts.judge(), Some("authority_key_identifier"));
}
