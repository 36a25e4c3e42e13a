//! A real browser without a screen: Chromium.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Debian's package of the same name.
const PROGRAM: &str = "chromium-headless-shell";
/// A page is shown in this time.
const BOUND: Duration = Duration::from_secs(60);

/// What a browser makes of a local page: its document after it was laid out, and a picture (PNG).
///
/// # Errors
/// There is no browser, or it does not come to an end.
pub async fn show(page: &Path, is_dark: bool, picture: &Path) -> Result<String> {
    run(
        page,
        is_dark,
        &format!("--screenshot={}", picture.display()),
    )
    .await?;
    run(page, is_dark, "--dump-dom").await
}

async fn run(page: &Path, is_dark: bool, what: &str) -> Result<String> {
    let profile = TempDir::new()?;
    let scheme = if is_dark { 0 } else { 1 };
    let output = tokio::process::Command::new(PROGRAM)
        // Root has no sandbox of its own, and the page is ours.
        .args(["--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg("--window-size=1200,1700")
        .arg(what)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(BOUND, output)
        .await
        .with_context(|| format!("{PROGRAM} took longer than {BOUND:?}"))?
        .with_context(|| format!("cannot start {PROGRAM} (Debian package of that name)"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
