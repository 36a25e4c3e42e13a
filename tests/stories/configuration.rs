//! What a daemon says about its configuration, and in which form it logs.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use countersign_tests::{Command, binaries};
use serde_json::Value;
use tempfile::TempDir;

const CONTROL_PLANE: &str = "trust_domain = \"example.org\"\ndata_dir = \"./data\"\n[telemetry]\n\
    listen = \"127.0.0.1:0\"\notlp_endpoint = \"http://127.0.0.1:1\"\n";
const SIDECAR: &str = "trust_domain = \"example.org\"\n[control_plane]\n\
    address = \"https://127.0.0.1:1\"\nbundle = \"b\\u001b[2J.pem\"\n[attestation]\n\
    method = \"join_token\"\n[[inbound]]\nlisten = \"127.0.0.1:0\"\nforward = \"127.0.0.1:8080\"\n\
    identity = \"spiffe://example.org/web\"\nallow = [\"spiffe://example.org/client\"]\n";

#[tokio::test]
async fn effective_keys_are_those_of_the_page() -> Result<()> {
    for (program, page, text) in [
        (
            "countersign-control-plane",
            "control-plane.md",
            CONTROL_PLANE,
        ),
        ("countersign-sidecar", "sidecar.md", SIDECAR),
    ] {
        let folder = TempDir::new()?;
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text)?;
        let file = file.to_string_lossy();
        let check = ["config", "check", "--effective", "--config", &*file];
        let command = Command::new(binaries::ours(program)?);
        let shown = command.run(&check).await?;
        ensure!(shown.code == Some(0), "{shown:?}");
        let told = command.run(&[&check[..], &["--json"]].concat()).await?;
        for text in [&shown.stdout, &told.stdout] {
            ensure!(!text.contains('\u{1b}'), "{text:?}");
        }
        let json: Value = serde_json::from_str(&told.stdout)?;
        ensure!(json["valid"] == true, "{json}");
        let page = countersign_reference::written(page);
        let keys = json["keys"].as_array().context("a list")?;
        ensure!(keys.len() > 15, "{json}");
        for key in keys {
            let name = key["key"].as_str().context("a name")?;
            let last = name.rsplit('.').next().unwrap_or(name);
            let row = format!("| `{last}` |");
            let is_listed = page.contains(&row) || page.contains(&format!("## `[[{name}]]`"));
            ensure!(is_listed, "{name} is not on the page");
            ensure!(shown.stdout.contains(name), "{name} in {}", shown.stdout);
            for part in ["origin", "type", "meaning", "since", "takes_effect"] {
                ensure!(key[part].is_string(), "{part} of {key}");
            }
        }
    }
    Ok(())
}

/// A collector takes no password in its address, and what is refused is not repeated.
#[tokio::test]
async fn password_in_an_address_is_refused_and_hidden() -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("config.toml");
    std::fs::write(&file, CONTROL_PLANE.replace("//", "//user:s3cret@"))?;
    let file = file.to_string_lossy();
    let command = Command::new(binaries::ours("countersign-control-plane")?);
    let refused = command
        .run(&["config", "check", "--config", &*file])
        .await?;
    let told = format!("{}{}", refused.stdout, refused.stderr);
    ensure!(
        refused.code == Some(2) && told.contains("otlp_endpoint"),
        "{told}"
    );
    ensure!(
        told.contains("user information") && !told.contains("s3cret"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn lines_are_text_on_a_terminal_alone() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    // Its first line comes before the port is wanted, so it ends by itself.
    let text = format!("{CONTROL_PLANE}[api]\nlisten = \"{address}\"\n").replace("otlp", "# otlp");
    let program = binaries::ours("countersign-control-plane")?;
    let run = |folder: &Path| -> Result<String> {
        let file = folder.join("config.toml");
        std::fs::write(&file, &text)?;
        Ok(format!(
            "{} run --config {}",
            program.display(),
            file.display()
        ))
    };
    let made = "root and issuing CA made";

    let folder = TempDir::new()?;
    let line = run(folder.path())?;
    let words: Vec<_> = line.split(' ').skip(1).collect();
    let piped = Command::new(program.clone()).run(&words).await?;
    let first = piped.stderr.lines().find(|line| line.contains(made));
    let first = first.with_context(|| format!("{piped:?}"))?;
    ensure!(first.starts_with('{') && first.ends_with('}'), "{first}");

    let folder = TempDir::new()?;
    let terminal = Command::new("/usr/bin/script".into());
    let seen = terminal
        .run(&["-qec", &run(folder.path())?, "/dev/null"])
        .await?;
    let first = seen.stdout.lines().find(|line| line.contains(made));
    let first = first.with_context(|| format!("{seen:?}"))?;
    ensure!(first.contains("INFO") && !first.contains('{'), "{first}");
    Ok(())
}
