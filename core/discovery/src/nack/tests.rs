use proptest::prelude::*;

use super::*;

#[test]
fn known_messages_have_reasons() {
    let known = [
        (
            "Failed to load certificate chain from <inline>",
            NackReason::Chain,
        ),
        (
            "Failed to load incomplete certificate from <inline>",
            NackReason::Chain,
        ),
        (
            "Invalid TLS context has neither subject CN nor SAN names",
            NackReason::Chain,
        ),
        (
            "Failed to load private key from <inline>, Cause: error:0900006e:NO_START_LINE",
            NackReason::Key,
        ),
        (
            "only RSA certificates with 2048-bit or larger keys",
            NackReason::Key,
        ),
        (
            "Failed to load private key from <inline>, Cause: KEY_VALUES_MISMATCH",
            NackReason::KeyMismatch,
        ),
        (
            "Failed to load trusted CA certificates from <inline>",
            NackReason::Bundle,
        ),
        (
            "SAN-based verification of peer certificates without trusted CA is insecure",
            NackReason::Bundle,
        ),
        ("Failed to load CRL from <inline>", NackReason::Crl),
        ("DataSource cannot be empty", NackReason::Validation),
        (
            "Proto constraint validation failed (Secret: private key …)",
            NackReason::Validation,
        ),
        ("the moon is in the wrong house", NackReason::Other),
    ];
    for (text, reason) in known {
        assert_eq!(Nack::redact(text).reason, reason, "{text}");
    }
}

#[test]
fn prose_survives_as_it_is() {
    let nack = Nack::redact("Failed to load trusted CA certificates from <inline>");
    assert_eq!(
        nack.text,
        "Failed to load trusted CA certificates from <inline>"
    );
    let nack = Nack::redact("Failed to load private key, Cause: KEY_VALUES_MISMATCH");
    assert_eq!(
        nack.text,
        "Failed to load private key, Cause: KEY_VALUES_MISMATCH"
    );
}

#[test]
fn nothing_after_a_secret_is_kept() {
    for marker in [
        "private_key {",
        "-----BEGIN X-----",
        "inline_bytes:",
        "INLINE_STRING:",
    ] {
        let nack = Nack::redact(&format!("it failed: {marker} and more words"));
        assert_eq!(nack.text, "it failed: [cut]", "{marker}");
    }
}

#[test]
fn control_characters_never_survive() {
    let nack = Nack::redact("a\u{1b}[31mred\nline\u{0}two \u{202e}reversed");
    assert_eq!(nack.text, "[cut]");
    assert!(!nack.text.contains(char::is_control));
}

#[test]
fn long_texts_are_cut() {
    let nack = Nack::redact(&"word ".repeat(1_000_000));
    assert!((190..=MAX_TEXT_CHARS).contains(&nack.text.len()));
    assert!(Nack::redact(&"é".repeat(4_000)).text.len() <= MAX_TEXT_CHARS);
}

#[test]
fn our_own_words_keep_their_reason() {
    for (reason, _) in WORDS {
        let nack = Nack::new(reason, "private key of the bundle: CRL");
        assert_eq!(Nack::redact(&nack.to_string()), nack);
        assert_eq!(NackReason::from_word(reason.as_str()), Some(reason));
    }
}

/// How a secret may be written into a text.
fn written() -> impl Strategy<Value = (String, String)> {
    let base64 = "[A-Za-z0-9+/]{40,400}={0,2}";
    let hex = "([0-9a-f]{2}:?){40,200}";
    let octal = r"(\\[0-3][0-7]{2}|[!-~]){40,200}";
    let letters = "[a-z]{20,40}|[A-Z_]{20,40}";
    let plain = prop_oneof![base64, hex, octal, letters];
    let pem = base64.prop_map(|text| {
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        lines.join(r"\n")
    });
    prop_oneof![plain, pem].prop_flat_map(|secret| {
        let frames = prop_oneof![
            Just(("", "")),
            Just(("private_key { inline_bytes: \"", "\" }")),
            Just((
                "-----BEGIN PRIVATE KEY-----\n",
                "\n-----END PRIVATE KEY-----"
            )),
            Just(("Failed: (", ") value")),
        ];
        frames.prop_map(move |(open, close)| {
            (
                format!("Proto failed: {open}{secret}{close} end"),
                secret.clone(),
            )
        })
    })
}

proptest! {
    #[test]
    fn no_run_of_a_secret_survives((text, secret) in written()) {
        let kept = Nack::redact(&text).to_string();
        for run in secret.as_bytes().windows(20) {
            let run = String::from_utf8_lossy(run);
            prop_assert!(!kept.contains(&*run), "{run} of {text} in {kept}");
        }
    }

    #[test]
    fn any_text_is_bounded_and_printable(text in any::<String>()) {
        let nack = Nack::redact(&text);
        prop_assert!(nack.text.len() <= MAX_TEXT_CHARS);
        prop_assert!(nack.text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
        prop_assert_eq!(Nack::redact(&nack.to_string()), nack);
    }
}
