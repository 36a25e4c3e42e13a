//! Error codes: read from where they are made, with message and remedy; what stands elsewhere in the
//! sources is told by a table here.

mod told;

use std::collections::BTreeMap;

use countersign_reference::{Table, code, page, plain, sentence};

use crate::rules::source::{Source, between, production};
use told::{OF_A_KIND, TOLD};

const HEAD: &str = "# Error codes

An error is one object, on stderr of a command that was given `--json`:

```json
{\"error\":{\"code\":\"not_found\",\"message\":\"…\",\"remedy\":\"…\"}}
```

The code is stable, for scripts; message and remedy are for people, and `…` below stands for what they name.
The same codes are in the log of the control plane (field `code`) and in its issuance log (entries
`Refused`). An operator gets them with message and remedy. **A sidecar or a stranger is told less**: that an
attestation was refused, and why only of a join token that it holds and that has ended; the log of the control
plane says why, to its operator. How a program
ends with them: [exit codes](exit-codes.md). What is wrong with a key or a certificate: [lint](../lint.md).
";

/// How the sources make one: code, message and remedy, in this order.
const MAKERS: [&str; 6] = [
    "Denied {",
    "denied(",
    "described(",
    "Failure::new(",
    "failure(",
    "invalid(",
];

/// Message and remedy of a code.
type Texts = (String, String);

/// Every code, with what its makers say where they say both.
fn made(sources: &[Source]) -> BTreeMap<String, Option<Texts>> {
    let mut codes = BTreeMap::<String, Option<Texts>>::new();
    for source in sources {
        for maker in MAKERS {
            for (at, _) in source.text.match_indices(maker) {
                let is_name =
                    source.text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                let body = between(&source.text[at + maker.len() - 1..]);
                if let Some((code, texts)) = read(body).filter(|_| !is_name) {
                    let known = codes.entry(code).or_default();
                    *known = known.take().or(texts);
                }
            }
        }
        for (_, rest) in source
            .text
            .match_indices("(Exit::")
            .map(|(at, it)| (at, &source.text[at + it.len()..]))
        {
            let word = rest
                .split_once(", \"")
                .map(|(exit, rest)| (exit, rest.split('"').next()));
            if let Some((exit, Some(word))) = word
                && exit.chars().all(char::is_alphanumeric)
                && is_code(word)
            {
                codes.entry(word.to_owned()).or_default();
            }
        }
    }
    codes
}

/// The first code of a body, with message and remedy where it has these two besides.
fn read(body: &str) -> Option<(String, Option<Texts>)> {
    let literals = literals(body);
    let code = literals.iter().position(|text| is_code(text))?;
    let texts = match &literals[..] {
        [_, message, remedy] if code == 0 && !is_code(remedy) => {
            Some((message.clone(), remedy.clone()))
        }
        _ => None,
    };
    Some((literals[code].clone(), texts))
}

fn is_code(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.len() > 2 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits)
}

/// Texts in quotes, joined where a line ends in a backslash.
fn literals(text: &str) -> Vec<String> {
    let (mut found, mut current, mut is_escaped) = (Vec::new(), None::<String>, false);
    for c in text.chars() {
        match (&mut current, c) {
            (Some(literal), c) if is_escaped => {
                is_escaped = false;
                match c {
                    '\n' => literal.push('\u{0}'), // what follows is indentation
                    c => literal.push(c),
                }
            }
            (Some(_), '\\') => is_escaped = true,
            (Some(_), '"') => found.extend(current.take()),
            (Some(literal), ' ') if literal.ends_with('\u{0}') => {}
            (Some(literal), c) => literal.push(c),
            (None, '"') => current = Some(String::new()),
            (None, _) => {}
        }
    }
    found.iter().map(|text| text.replace('\u{0}', "")).collect()
}

/// What a message names differs.
fn without_values(message: &str) -> String {
    let mut text = String::new();
    let mut depth = 0_usize;
    for c in message.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                text.push('…');
            }
            c if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text
}

#[test]
fn page_of_the_error_codes_follows_the_code() {
    let mut table = Table::new(["Code", "What happened", "What mends it"]);
    let mut missing = Vec::new();
    let mut codes = made(&production());
    for (name, ..) in TOLD {
        codes.entry((*name).to_owned()).or_default();
    }
    for (name, texts) in codes {
        let told = TOLD.iter().find(|(known, ..)| *known == name);
        let told = told.map(|(_, what, remedy)| ((*what).to_owned(), (*remedy).to_owned()));
        let Some((message, remedy)) = told.or(texts) else {
            missing.push(name);
            continue;
        };
        table.row(&[
            code(&name),
            sentence(&without_values(&message)),
            sentence(&without_values(&remedy)),
        ]);
    }
    assert!(
        missing.is_empty(),
        "say in errors/told.rs what these mean: {missing:?}"
    );
    let mut text = format!("{HEAD}\n{}", table.finish());
    for (title, rows) in OF_A_KIND {
        let mut table = Table::new(["Code", "What happened"]);
        rows.iter()
            .for_each(|(name, what)| table.row(&[code(name), plain(what)]));
        text += &format!("\n## {title}\n\n{}", table.finish());
    }
    page("errors.md", &text);
}

#[test]
fn every_code_that_is_told_is_one() {
    let sources = production();
    let is_there = |name: &str| {
        let quoted = format!("\"{name}\"");
        sources.iter().any(|source| source.text.contains(&quoted))
    };
    let of_a_kind = OF_A_KIND
        .iter()
        .flat_map(|(_, rows)| rows.iter().map(|(name, _)| *name));
    for name in TOLD.iter().map(|(name, ..)| *name).chain(of_a_kind) {
        assert!(is_there(name), "no source has {name:?}");
    }
}

/// Codes of a function `code` of these files are in the part of their kind.
#[test]
fn every_code_of_a_kind_is_listed() {
    let sources = production();
    for path in [
        "control-plane/issue/src/request.rs",
        "core/model/src/spiffe_id.rs",
        "sidecar/src/proxy/callers.rs",
    ] {
        let source = sources
            .iter()
            .find(|it| it.path == path)
            .unwrap_or_else(|| panic!("no {path}"));
        let (_, rest) = source.text.split_once("fn code(").unwrap();
        let body = between(&rest[rest.find('{').unwrap()..]);
        let codes = literals(body);
        assert!(codes.len() > 4, "{path} has {codes:?}");
        for code in codes {
            let is_listed = OF_A_KIND
                .iter()
                .any(|(_, rows)| rows.iter().any(|(name, _)| *name == code));
            assert!(
                is_listed,
                "say in errors/told.rs what {code} of {path} means"
            );
        }
    }
}

#[test]
fn planted_code_is_read() {
    let planted = r#"
        fn no(id: &str) -> Result<(), Denied> {
            Err(Denied {
                code: "too_late",
                message: format!("{id} came at {}", now()),
                remedy: "come \
                    earlier",
            })
        }
        fn judged() -> (Exit, &'static str) { (Exit::No, "log_bent") }
    "#;
    let codes = made(&[Source::new("core/x/src/planted.rs", planted)]);
    let texts = codes["too_late"].clone().unwrap();
    assert_eq!(without_values(&texts.0), "… came at …");
    assert_eq!(texts.1, "come earlier");
    assert_eq!(codes["log_bent"], None, "its meaning has to be told");
}
