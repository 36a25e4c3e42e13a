use std::cell::RefCell;
use std::time::Duration;

use super::*;

fn reader(text: &str) -> (tempfile::TempDir, Reader) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sidecar.toml");
    std::fs::write(&file, text).unwrap();
    let reader = Reader::open(&file).unwrap();
    (folder, reader)
}

fn refusal(bytes: &[u8]) -> ConfigError {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sidecar.toml");
    std::fs::write(&file, bytes).unwrap();
    Reader::open(&file).unwrap_err()
}

fn keys(error: &ConfigError) -> Vec<&str> {
    error.mistakes.iter().map(|m| m.key.as_str()).collect()
}

fn key(name: &'static str) -> Key {
    Key::new(name, "A key.")
}

fn any_port() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn any_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

#[test]
fn every_kind_of_value_is_read() {
    let (folder, mut reader) = reader(
        r#"
        trust_domain = "example.org"
        renew_at = 0.45
        cap = 12
        strict = true
        [api]
        listen = "127.0.0.1:8443"
        ttl = "1h30m"
        data = "cp/admin.sock"
        allow = ["a", "b"]
        "#,
    );
    let minute_to_day = Duration::from_secs(60)..=Duration::from_secs(86_400);
    assert_eq!(
        reader.required(&key("trust_domain"), "name it", any_text),
        Some("example.org".to_owned())
    );
    assert_eq!(reader.float(&key("renew_at"), 0.5, 0.1..=0.9), 0.45);
    assert_eq!(reader.integer(&key("cap"), 1, 1..=100), 12);
    assert!(reader.boolean(&key("strict"), false));
    assert_eq!(
        reader.address(&key("api.listen"), any_port()),
        Some("127.0.0.1:8443".parse().unwrap())
    );
    assert_eq!(
        reader.duration(&key("api.ttl"), Duration::ZERO, minute_to_day),
        Duration::from_secs(5_400)
    );
    assert_eq!(
        reader.path(&key("api.data"), None),
        Some(folder.path().join("cp/admin.sock"))
    );
    assert_eq!(
        reader.list(&key("api.allow"), "name peers", 9, any_text),
        ["a", "b"]
    );
    assert_eq!(reader.finish().map(drop), Ok(()));
}

#[test]
fn text_that_something_else_would_expand_is_no_path() {
    for (written, why) in [
        ("unix:///run/x", "is a URL"),
        ("unix:run/x", "is a URL"),
        ("unix-abstract:x", "is a URL"),
        ("file:/run/x", "is a URL"),
        ("https://x", "is a URL"),
        ("~/x", "only a shell"),
        ("~root/x", "only a shell"),
        ("$HOME/x", "none is expanded"),
        ("/run/${USER}/x", "none is expanded"),
        ("/run/$USER/x", "contains a variable"),
        ("x$_y", "contains a variable"),
        ("a$b", "contains a variable"),
        ("%t/x", "none is expanded"),
        ("/run/%i/x", "contains a specifier"),
        ("/run/x-%{name}", "contains a specifier"),
        ("", "is empty"),
    ] {
        for read in [
            |reader: &mut Reader| reader.path(&key("at"), Some("default")),
            |reader: &mut Reader| reader.socket(&key("at"), "/default".into()),
            |reader: &mut Reader| reader.folder_of_socket(&key("at"), "default", "s"),
        ] {
            let (_folder, mut reader) = reader(&format!("at = \"{written}\""));
            assert_eq!(read(&mut reader), None, "{written}");
            let error = reader.finish().unwrap_err();
            assert_eq!(keys(&error), ["at"]);
            let Mistake {
                problem, remedy, ..
            } = &error.mistakes[0];
            assert!(problem.contains(why), "{why} in {problem}");
            assert!(remedy.contains("as it stands on the disk"));
        }
    }
    for plain in [
        "/run/x", "x", "./x", "a:b", "/a:/b", "x~", "50%", "50%/x", "a$", "a$/5$5", "C:x",
    ] {
        let (folder, mut reader) = reader(&format!("at = \"{plain}\""));
        let path = reader.path(&key("at"), None);
        assert_eq!(path, Some(folder.path().join(plain)));
        assert_eq!(reader.finish().map(drop), Ok(()));
    }
}

#[test]
fn socket_path_is_one_that_can_be_bound() {
    let refused = |text: &str, read: fn(&mut Reader) -> Option<PathBuf>| {
        let (_folder, mut reader) = reader(text);
        read(&mut reader);
        let error = reader.finish().err()?;
        Some(error.mistakes[0].problem.clone())
    };
    let socket = |reader: &mut Reader| reader.socket(&key("at"), "/default".into());
    let folder = |reader: &mut Reader| reader.folder_of_socket(&key("at"), "default", "s");
    let path = |bytes: usize| format!("/{}", "x".repeat(bytes - 1));
    let most = path(MAX_SOCKET_PATH_BYTES);
    assert!(std::os::unix::net::SocketAddr::from_pathname(&most).is_ok());
    let written = |path: &str| format!("at = \"{path}\"");
    assert_eq!(refused(&written(&most), socket), None);
    let longer = path(MAX_SOCKET_PATH_BYTES + 1);
    assert!(std::os::unix::net::SocketAddr::from_pathname(&longer).is_err());
    let problem = refused(&written(&longer), socket).unwrap();
    assert!(
        problem.contains("108 bytes, more than the 107"),
        "{problem}"
    );
    let fits = path(MAX_SOCKET_PATH_BYTES - 2);
    assert_eq!(refused(&written(&fits), folder), None);
    assert!(refused(&written(&most), folder).is_some());
    for (odd, why) in [("@x", "abstract socket"), ("/run/", "is a folder")] {
        let problem = refused(&written(odd), socket).unwrap();
        assert!(problem.contains(why), "{problem}");
    }
}

#[test]
fn absent_keys_take_their_defaults() {
    let (folder, mut reader) = reader("");
    let second = Duration::from_secs(1);
    assert_eq!(reader.duration(&key("a"), second, second..=second), second);
    assert_eq!(reader.float(&key("b"), 0.5, 0.0..=1.0), 0.5);
    assert_eq!(reader.integer(&key("c"), 7, 0..=9), 7);
    assert!(reader.boolean(&key("d"), true));
    assert_eq!(reader.text(&key("e"), "info", "", |_| Ok(())), "info");
    assert_eq!(
        reader.path(&key("f"), Some("x")),
        Some(folder.path().join("x"))
    );
    assert_eq!(reader.path(&key("g"), None), None);
    assert_eq!(reader.optional(&key("h"), "", any_text), None);
    assert!(reader.list(&key("i"), "", 9, any_text).is_empty());
    assert!(reader.tables(&key("j"), 9, |_| Some(())).is_empty());
    assert_eq!(reader.finish().map(drop), Ok(()));
}

#[test]
fn all_mistakes_come_together() {
    let (_folder, mut reader) = reader(
        r#"
        renew_at = "often"
        ttl = "5"
        strict = "yes"
        lisen = "127.0.0.1:1"
        [api]
        listen = "localhost"
        allow = []
        "#,
    );
    let second = Duration::from_secs(1);
    reader.required(&key("trust_domain"), "write it", any_text);
    reader.float(&key("renew_at"), 0.5, 0.1..=0.9);
    reader.duration(&key("ttl"), second, second..=second * 2);
    reader.boolean(&key("strict"), true);
    reader.address(&key("api.listen"), any_port());
    reader.list(&key("api.allow"), "name at least one", 9, any_text);
    let error = reader.finish().unwrap_err();
    assert_eq!(
        keys(&error),
        [
            "trust_domain",
            "renew_at",
            "ttl",
            "strict",
            "api.listen",
            "api.allow",
            "lisen"
        ]
    );
    let report = error.to_string();
    assert!(report.starts_with("7 mistakes in "), "{report}");
    let lines: Vec<_> = report.lines().skip(1).collect();
    assert_eq!(lines.len(), 7);
    assert!(
        lines.iter().all(|l| l.contains("sidecar.toml: ")),
        "{report}"
    );
    assert!(report.contains(r#"ttl: "5" the unit is missing: d, h, m, s or ms, as in 10m; write a duration from "1s" to "2s""#));
    assert!(report.contains("did you mean api.listen?"), "{report}");
}

#[test]
fn unknown_keys_in_tables_are_found() {
    let (_folder, mut reader) = reader(
        r#"
        [[inbound]]
        listen = "127.0.0.1:1"
        [[inbound]]
        listen = "127.0.0.1:2"
        alow = ["x"]
        [stray]
        a = 1
        b = 2
        "#,
    );
    let listens = reader.tables(&key("inbound"), 9, |table| {
        table.list(&key("allow"), "name peers", 9, any_text);
        table.required_address(&key("listen"))
    });
    assert_eq!(listens.len(), 2);
    let error = reader.finish().unwrap_err();
    assert_eq!(keys(&error), ["inbound[1].alow", "stray"]);
    assert_eq!(error.mistakes[0].remedy, "did you mean inbound[1].allow?");
}

#[test]
fn mistakes_in_tables_bear_their_place() {
    let (_folder, mut reader) = reader("[[inbound]]\nallow = [1, \"\"]\n");
    reader.tables(&key("inbound"), 9, |table| {
        table.required(&key("listen"), "name an address", any_text);
        table.list(&key("allow"), "name peers", 9, |text| match text {
            "" => Err("is empty".to_owned()),
            text => Ok(text.to_owned()),
        });
        table.mistake("forward", "contradicts listen", "change one");
        None::<()>
    });
    let error = reader.finish().unwrap_err();
    assert_eq!(
        keys(&error),
        [
            "inbound[0].listen",
            "inbound[0].allow[0]",
            "inbound[0].allow[1]",
            "inbound[0].forward"
        ]
    );
}

#[test]
fn section_of_wrong_type_is_one_mistake() {
    let (_folder, mut reader) = reader("api = 1\ninbound = 2\n");
    reader.required(&key("api.listen"), "name it", any_text);
    reader.required(&key("api.name"), "name it", any_text);
    reader.tables(&key("inbound"), 9, |_| Some(()));
    let error = reader.finish().unwrap_err();
    assert_eq!(keys(&error), ["api", "inbound"]);
    assert_eq!(error.mistakes[0].remedy, "write [api]");
}

#[test]
fn asking_twice_reports_once() {
    let (_folder, mut reader) = reader("ttl = 1\n");
    for _ in 0..2 {
        reader.required(&key("ttl"), "write it", any_text);
        reader.required(&key("gone"), "write it", any_text);
    }
    assert_eq!(keys(&reader.finish().unwrap_err()), ["ttl", "gone"]);
}

#[test]
fn quoted_key_is_no_section() {
    let (_folder, mut reader) = reader("\"api.listen\" = \"127.0.0.1:1\"\n");
    assert_eq!(
        reader.address(&key("api.listen"), any_port()),
        Some(any_port())
    );
    assert_eq!(keys(&reader.finish().unwrap_err()), ["\"api.listen\""]);
}

#[test]
fn presence_is_told_without_asking() {
    let (_folder, reader) = reader("[api]\nlisten = 1\n");
    assert!(reader.contains("api") && reader.contains("api.listen"));
    assert!(!reader.contains("api.name") && !reader.contains("ca.ttl"));
    assert_eq!(keys(&reader.finish().unwrap_err()), ["api"]);
}

#[test]
fn syntax_error_names_its_place() {
    let error = refusal(b"a = 1\nb = = 2\n");
    assert_eq!(error.mistakes.len(), 1);
    let problem = &error.mistakes[0].problem;
    assert!(problem.starts_with("line 2, column 5: "), "{problem}");
    let twice = refusal(b"a = 1\na = 2\n");
    assert!(twice.mistakes[0].problem.starts_with("line 2, column 1: "));
}

#[test]
fn odd_files_are_refused() {
    assert!(refusal(b"a = \"\xff\"").to_string().contains("not UTF-8"));
    let large = vec![b'\n'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1];
    assert!(refusal(&large).to_string().contains("larger"));
    let gone = Reader::open(std::path::Path::new("/nonexistent/x.toml")).unwrap_err();
    assert!(
        gone.to_string()
            .contains("/nonexistent/x.toml: cannot be read")
    );
    let folder = tempfile::tempdir().unwrap();
    assert!(Reader::open(folder.path()).is_err());
}

#[test]
fn control_characters_never_reach_the_report() {
    let (_folder, mut reader) = reader("\"k\\u001b\" = 1\nid = \"a\\u001b[2J\\nb\"\n");
    reader.optional(&key("id"), "mend it", |text| {
        Err::<(), _>(format!("{text} is bad"))
    });
    let report = reader.finish().unwrap_err().to_string();
    assert_eq!(report.lines().count(), 3, "{report:?}");
    assert!(!report.contains('\x1b'), "{report:?}");
}

#[test]
fn bounds_are_named() {
    let (_folder, mut reader) = reader("a = 2.5\nb = -1\nc = \"2h\"\nd = nan\n");
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
    assert_eq!(reader.float(&key("a"), 0.5, 0.0..=1.0), 0.5);
    assert_eq!(reader.integer(&key("b"), 3, 1..=10), 3);
    assert_eq!(reader.duration(&key("c"), second, second..=hour), second);
    reader.float(&key("d"), 0.5, 0.0..=1.0);
    let error = reader.finish().unwrap_err();
    let remedies: Vec<_> = error.mistakes.iter().map(|m| m.remedy.as_str()).collect();
    assert_eq!(
        remedies,
        [
            "write a number from 0 to 1",
            "write a whole number from 1 to 10",
            "write a duration from \"1s\" to \"1h\"",
            "write a number from 0 to 1",
        ]
    );
}

proptest::proptest! {
    #[test]
    fn any_text_ends_in_a_report(text in "[a-c.\\[\\]=\"{}0-9\n ]{0,60}") {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.toml");
        std::fs::write(&file, &text).unwrap();
        let reads = RefCell::new(0);
        if let Ok(mut reader) = Reader::open(&file) {
            reader.required(&key("a.b"), "", any_text);
            reader.tables(&key("c"), 9, |table| {
                *reads.borrow_mut() += 1;
                table.optional(&key("a"), "", any_text)
            });
            let _ = reader.finish();
        }
        proptest::prop_assert!(*reads.borrow() <= text.len());
    }
}

/// Neither of a wrong URL nor of one whose scheme is wrong.
#[test]
fn password_in_a_wrong_url_is_not_repeated() {
    for url in [
        "http://u:s3cret@h:1",
        "u:s3cret@h:1",
        "postgres:u:s3cret@h/d",
        "://u:s3cret@h",
    ] {
        let (_folder, mut reader) = reader(&format!("url = \"{url}\"\n"));
        let wrong = |_: &str| Err::<String, _>("is wrong".to_owned());
        assert_eq!(reader.optional(&key("url"), "mend it", wrong), None);
        let told = reader.finish().unwrap_err().to_string();
        assert!(!told.contains("s3cret"), "{told}");
        assert!(told.contains("(hidden)@h"), "{told}");
    }
}
