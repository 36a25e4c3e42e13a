//! What the pages of the documentation say, done as they say it.

use anyhow::{Result, ensure};
use countersign_tests::{Page, Shell};

/// Where the mesh of every page of integrations is set up.
const INDEX: (&str, &str) = ("docs/integrations/README.md", "A mesh to try them with");

/// A machine on which the common beginning was done.
async fn begun() -> Result<Shell> {
    let mut shell = Shell::start()?;
    shell.follow(&Page::section(INDEX.0, INDEX.1)?).await?;
    Ok(shell)
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_page_runs_as_written() -> Result<()> {
    let mut shell = begun().await?;
    let page = Page::section("docs/listeners.md", "An example")?;
    shell.follow(&page).await
}

#[tokio::test(flavor = "multi_thread")]
async fn page_that_is_wrong_is_found() -> Result<()> {
    let mut shell = Shell::start()?;
    let wrong = [
        ("$ echo this\nthat", "did not print \"that\""),
        ("$ false", "ended with 1"),
        ("$ true  # fails: it does not", "ended with 0"),
        (
            "$ countersign-sidecar config check --config none.toml",
            "ended with 2",
        ),
    ];
    for (block, expected) in wrong {
        let page = Page::parse("a page", &format!("```console\n{block}\n```\n"))?;
        let told = shell.follow(&page).await.expect_err(block);
        let told = format!("{told:#}");
        ensure!(told.contains(expected), "{block}: {told}");
    }
    let right = "```console\n$ X=1; cd /\n$ echo $X $PWD\n1 /\n$ false  # fails\n```\n";
    shell.follow(&Page::parse("a page", right)?).await
}
