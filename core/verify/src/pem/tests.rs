//! The reader against texts of every dialect, and against OpenSSL itself.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::pki::World;

const BOUNDS: Bounds = Bounds {
    text: 1 << 20,
    blocks: 4,
    block: 8 * 1024,
};

fn certificates(text: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, PemError> {
    read(text.as_ref(), CERTIFICATE, BOUNDS)
}

fn der() -> Vec<u8> {
    World::shared().root.der.to_vec()
}

/// The certificate in these dialects, each of which OpenSSL reads.
fn dialects() -> Vec<(&'static str, Vec<u8>)> {
    let good = write(CERTIFICATE, &der());
    let lines: Vec<_> = good.lines().collect();
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    let body = lines[1..lines.len() - 1].concat();
    let framed = |body: &str| format!("{first}\n{body}\n{last}\n");
    let spaced: Vec<_> = lines.iter().map(|line| format!("{line} \t")).collect();
    let indented = body.replace('A', " A\t");
    [
        ("as it is written", good.clone()),
        (
            "text around it",
            format!("subject=a\n\n--- \n{good}\nthe end"),
        ),
        ("CRLF", good.replace('\n', "\r\n")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("one long line", framed(&body)),
        (
            "one character a line",
            framed(body.replace("", "\n").trim()),
        ),
        ("spaces at the ends", spaced.join("\n")),
        ("spaces in the middle", framed(&indented)),
        ("an empty line first", good.replacen('\n', "\n\n", 1)),
        ("no newline at the end", good.trim_end().to_owned()),
        ("a NUL at the end", format!("{good}\0")),
        (
            "its old name",
            good.replace("CERTIFICATE", "X509 CERTIFICATE"),
        ),
    ]
    .map(|(what, text)| (what, text.into_bytes()))
    .into()
}

/// What OpenSSL reads of it, if it reads it.
fn openssl(text: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new("openssl")
        .args(["x509", "-outform", "DER"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(text);
    let output = child.wait_with_output().unwrap();
    output.status.success().then_some(output.stdout)
}

#[test]
fn every_dialect_is_read_as_openssl_reads_it() {
    for (what, text) in dialects() {
        assert_eq!(certificates(&text), Ok(vec![der()]), "{what}");
        assert_eq!(openssl(&text), Some(der()), "{what}");
    }
}

#[test]
fn empty_lines_in_a_block_say_nothing() {
    let spread = write(CERTIFICATE, &der()).replace('\n', "\n\n");
    assert_eq!(certificates(spread), Ok(vec![der()]));
}

#[test]
fn what_openssl_refuses_is_refused() {
    let good = write(CERTIFICATE, &der());
    let (begin, rest) = good.split_once('\n').unwrap();
    for (text, error) in [
        (good.replace("-----END", "----END"), "line"),
        (good.replace("END CERTIFICATE", "END X509 CRL"), "boundary"),
        (format!("{begin}\n{good}"), "line 2 is no boundary"),
        (
            format!("{begin}\n# a comment\n{rest}"),
            "line 2 stands in a PEM block",
        ),
        (
            good.replacen("MII", "M!I", 1),
            "line 2 stands in a PEM block",
        ),
        (good.replacen("MII", "MI", 1), "is no base64"),
        (good.replace('\n', ""), "line 1 is no boundary"),
        (good.replace('\n', "\r"), "line 1 is no boundary"),
        (
            good[..good.find("-----END").unwrap()].to_owned(),
            "line 1 has no end",
        ),
        (good.to_lowercase(), "no PEM block of a CERTIFICATE"),
        (
            "<html>404</html>".to_owned(),
            "no PEM block of a CERTIFICATE",
        ),
        (String::new(), "no PEM block of a CERTIFICATE"),
    ] {
        let refused = certificates(&text).expect_err(error).to_string();
        assert!(refused.contains(error), "{error} in {refused}");
        assert_eq!(openssl(text.as_bytes()), None, "{error}");
    }
}

#[test]
fn header_of_a_block_is_refused() {
    // RFC 7468 has none; OpenSSL reads those of RFC 1421, which are for encrypted keys.
    let good = write(CERTIFICATE, &der());
    let headed = good.replacen('\n', "\nX: y\n\n", 1);
    assert_eq!(certificates(headed), Err(PemError::NoBase64 { line: 2 }));
}

#[test]
fn no_block_is_passed_over_without_a_word() {
    let good = write(CERTIFICATE, &der());
    let key = good.replace("CERTIFICATE", "PRIVATE KEY");
    let other = PemError::OtherKind {
        line: 1,
        wanted: "CERTIFICATE",
    };
    assert_eq!(certificates(format!("{key}{good}")), Err(other));
    for (before, what) in [
        ("-----END CERTIFICATE-----\n", "an end without a beginning"),
        ("----BEGIN CERTIFICATE-----\n", "four dashes"),
        ("-----BEGIN CERTIFICATE----\n", "four dashes behind"),
        (" -----BEGIN CERTIFICATE-----\n", "a space before"),
        ("<p>-----BEGIN CERTIFICATE-----\n", "a page"),
    ] {
        let refused = certificates(format!("{before}{good}"));
        assert_eq!(refused, Err(PemError::Boundary { line: 1 }), "{what}");
    }
}

#[test]
fn number_and_sizes_are_bounded() {
    let one = write(CERTIFICATE, &der());
    assert_eq!(certificates(one.repeat(4)).unwrap().len(), 4);
    let line = one.lines().count() * 4 + 1;
    assert_eq!(
        certificates(one.repeat(5)),
        Err(PemError::TooMany { line, most: 4 })
    );
    let large = write(CERTIFICATE, &vec![7; BOUNDS.block]);
    assert_eq!(certificates(large).unwrap()[0].len(), BOUNDS.block);
    let larger = write(CERTIFICATE, &vec![7; BOUNDS.block + 3]);
    let refused = certificates(larger).unwrap_err();
    assert!(
        matches!(refused, PemError::BlockTooLarge { .. }),
        "{refused}"
    );
    let long = "\n".repeat(BOUNDS.text + 1);
    let refused = certificates(long).unwrap_err();
    assert!(matches!(refused, PemError::TooLarge { .. }), "{refused}");
}

#[test]
fn hostile_text_costs_linear_time() {
    let fill = |part: &str| part.repeat(BOUNDS.text / part.len());
    let began = Instant::now();
    for part in [
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN",
        "-----BEGIN ",
        "----",
        "\n",
        "A\n",
        "\r",
        "-----END CERTIFICATE-----\n",
    ] {
        assert!(certificates(fill(part)).is_err());
        let open = format!("-----BEGIN CERTIFICATE-----\n{}", fill(part));
        assert!(certificates(&open[..BOUNDS.text]).is_err());
    }
    // A quadratic reader needs minutes; the bound is wide for a busy machine.
    assert!(began.elapsed() < Duration::from_secs(10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn spread_white_space_changes_nothing(
        cuts in prop::collection::vec((0_usize..600, "[ \t]{0,2}(\r\n|\n)[ \t]{0,2}"), 0..20),
        before in "[a-z= ]{0,20}\n",
    ) {
        let good = write(CERTIFICATE, &der());
        let (begin, rest) = good.split_once('\n').unwrap();
        let (body, end) = rest.split_once("-----").unwrap();
        let mut body = body.replace('\n', "");
        for (at, white) in cuts {
            body.insert_str(at % (body.len() + 1), &white);
        }
        // A cut at the end makes an empty last line.
        body.push('\n');
        let text = format!("{before}{begin}\n{body}-----{end}");
        prop_assert_eq!(certificates(&text), Ok(vec![der()]));
        // OpenSSL takes no empty line behind the first one.
        let is_blank = |line: &str| line.trim().is_empty();
        if !body.lines().any(is_blank) {
            prop_assert_eq!(openssl(text.as_bytes()), Some(der()));
        }
    }

    #[test]
    fn what_was_written_is_read(contents in prop::collection::vec(any::<u8>(), 0..300)) {
        for kind in [CERTIFICATE, CERTIFICATE_REQUEST, REVOCATION_LIST] {
            let text = write(kind, &contents);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            prop_assert_eq!(read(text.as_bytes(), kind, BOUNDS), Ok(vec![contents.clone()]));
        }
    }

    #[test]
    fn arbitrary_text_is_judged(text in "[-A-Z \n=/]{0,200}") {
        let _ = certificates(text);
    }
}
