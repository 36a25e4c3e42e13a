//! The pages that operators follow, done as they say it: in the mesh that the pages of integrations
//! begin with, or on a machine of their own.

use anyhow::Result;
use countersign_tests::{Page, Shell};

use crate::pages::begun;

/// Sections of a page, one after the other.
async fn follow(shell: &mut Shell, page: &str, sections: &[&str]) -> Result<()> {
    for section in sections {
        shell.follow(&Page::section(page, section)?).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_made_as_written() -> Result<()> {
    let sections = ["On a node", "Many in a file", "By hand"];
    follow(&mut begun().await?, "docs/registrations.md", &sections).await
}

/// The page shows what a terminal of 100 columns does.
#[tokio::test(flavor = "multi_thread")]
async fn stolen_node_key_is_put_out_as_written() -> Result<()> {
    let mut shell = begun().await?;
    shell.run("export COLUMNS=100").await?;
    follow(&mut shell, "docs/incidents.md", &["A stolen node key"]).await
}

/// A second node attests, and its machine is dead when the root is rotated.
#[tokio::test(flavor = "multi_thread")]
async fn dead_node_is_waived_as_written() -> Result<()> {
    const DIES: &str = "<!-- run: until -->\n```console\n\
        $ countersign node list --node spiffe://example.org/node/b\n\
        spiffe://example.org/node/b connected …\n```\n\
        ```console\n\
        $ kill %?b.toml; wait %?b.toml; countersign ca rotate-root\n```\n";
    let mut shell = begun().await?;
    shell
        .run(
            "sed -e 's/sidecar-state/b-state/; s#./token#./b-token#; s/sidecar.sock/b.sock/' \
             sidecar.toml > b.toml; printf '[telemetry]\\nlisten = \"127.0.0.1:9466\"\\n' >> b.toml; \
             countersign token create --node spiffe://example.org/node/b --out b-token",
        )
        .await?;
    shell
        .run("countersign-sidecar run --config b.toml 2> b.log &")
        .await?;
    shell
        .follow(&Page::parse("a node that dies", DIES)?)
        .await?;
    let page = "docs/incidents.md";
    follow(&mut shell, page, &["A rotation waits for a dead node"]).await
}

/// With a serial of this log: its entry is in a checkpoint within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn log_is_audited_as_written() -> Result<()> {
    const PROVED: &str = "<!-- run: until -->\n```console\n\
        $ countersign audit prove --log cp/log --serial $serial --out web.tlog-proof\n\
        $ countersign audit prove --check web.tlog-proof --key log.vkey\n```\n";
    let mut shell = begun().await?;
    let sections = ["What to do, and what it shows"];
    follow(&mut shell, "docs/audit.md", &sections).await?;
    let listed = "countersign certs list --id spiffe://example.org/web --json";
    shell
        .run(&format!(
            "serial=$({listed} | jq -r '.items[0].newest.serial')"
        ))
        .await?;
    shell.follow(&Page::parse("a proof", PROVED)?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_root_is_taken_as_written() -> Result<()> {
    let mut shell = Shell::start()?;
    shell
        .run(
            "printf 'trust_domain = \"example.org\"\\ndata_dir = \"./cp\"\\n[ca]\\nroot = \
             \"external\"\\n' > control-plane.toml",
        )
        .await?;
    shell
        .run("countersign-control-plane run --config control-plane.toml 2> control-plane.log &")
        .await?;
    let section = ["A root that is offline, or another's"];
    follow(&mut shell, "docs/cas.md", &section).await
}

/// The folders of the page are the machine's: what is written there goes with this one.
#[tokio::test(flavor = "multi_thread")]
async fn state_is_backed_up_and_restored_as_written() -> Result<()> {
    let mut shell = begun().await?;
    shell
        .run(
            "for at in /var/backups /var/lib; do mount -t tmpfs -o mode=755 tmpfs $at; done; \
             mkdir /var/lib/countersign",
        )
        .await?;
    let sections = ["Backup", "Restore"];
    follow(&mut shell, "docs/operations.md", &sections).await
}
