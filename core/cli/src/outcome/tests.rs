use std::path::PathBuf;
use std::process::Command;

use super::*;

fn two_mistakes() -> ConfigError {
    let mistake = |key: &str| Mistake {
        key: key.to_owned(),
        problem: "is missing".to_owned(),
        remedy: "write it".to_owned(),
    };
    ConfigError {
        file: PathBuf::from("sidecar.toml"),
        mistakes: vec![mistake("state_dir"), mistake("control_plane.address")],
    }
}

#[test]
fn json_failure_is_one_line() {
    let failure = Failure::new(Exit::Denied, "denied", "no\nsuch\x1b[2J thing", "ask");
    let line = failure.to_json();
    assert!(!line.contains('\n') && !line.contains('\x1b'));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["error"]["code"], "denied");
    assert_eq!(value["error"]["message"], "no\nsuch\x1b[2J thing");
    assert_eq!(value["error"]["remedy"], "ask");
    assert!(value["error"].get("mistakes").is_none());
}

#[test]
fn text_failure_names_the_remedy() {
    let failure = Failure::new(Exit::Denied, "denied", "first\nsecond\x1b[2J", "ask");
    assert_eq!(
        failure.to_text(false),
        "error: first\n  second\\u{1b}[2J\nremedy: ask"
    );
    assert!(failure.to_text(true).starts_with("\x1b[1;31merror"));
}

#[test]
fn all_mistakes_reach_json() {
    let failure = Failure::from(two_mistakes());
    assert_eq!(failure.exit, Exit::Usage);
    let value: serde_json::Value = serde_json::from_str(&failure.to_json()).unwrap();
    assert_eq!(value["error"]["code"], "configuration");
    let message = value["error"]["message"].as_str().unwrap();
    assert!(message.contains("sidecar.toml: state_dir"), "{message}");
    assert_eq!(
        value["error"]["mistakes"][1]["key"],
        "control_plane.address"
    );
}

#[derive(Debug, clap::Parser)]
struct Arguments {
    #[arg(long)]
    json: bool,
    #[arg(long)]
    id: String,
}

#[test]
fn usage_error_is_reported_in_shape() {
    use clap::Parser as _;
    let error = Arguments::try_parse_from(["x", "--json"]).unwrap_err();
    let failure = usage_failure(&error);
    assert_eq!(
        (failure.exit, failure.code.as_str()),
        (Exit::Usage, "usage")
    );
    assert!(failure.message.contains("required"), "{}", failure.message);
}

#[test]
fn good_arguments_are_parsed() {
    let words = ["x", "--json", "--id", "spiffe://td/a"];
    let parsed: Arguments = arguments_from(words.map(OsString::from).to_vec()).unwrap();
    assert!(parsed.json);
    assert_eq!(parsed.id, "spiffe://td/a");
}

/// Set in the child of [`panic_ends_with_seventy`].
const CHILD: &str = "COUNTERSIGN_TEST_PANIC_CHILD";

#[test]
fn panic_ends_with_seventy() {
    if std::env::var_os(CHILD).is_some() {
        let code = guard(true, || panic!("the impossible"));
        assert_eq!(code, ExitCode::from(70));
        std::process::exit(70);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "outcome::tests::panic_ends_with_seventy"])
        .arg("--nocapture")
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let line = stderr.lines().find(|l| l.starts_with('{')).unwrap();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["error"]["code"], "bug");
    assert!(line.contains("the impossible"));
}

/// Stands still until it is dropped elsewhere.
struct Stalled(mpsc::Receiver<()>);

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stalled_stderr_holds_up_no_end() {
    let (never, stalled) = mpsc::channel();
    let begun = std::time::Instant::now();
    say("the last words".to_owned(), Stalled(stalled));
    assert!(begun.elapsed() < Duration::from_secs(20));
    drop(never);
}
