//! What the command line says to people: at a terminal, and at the wrong socket.

use anyhow::{Result, ensure};
use countersign_tests::Page;

use crate::pages::begun;

/// The last step goes to stdout for scripts, and every step to stderr: a terminal shows both.
#[tokio::test(flavor = "multi_thread")]
async fn rotation_is_told_once_on_a_terminal() -> Result<()> {
    let mut shell = begun().await?;
    let rotate = "countersign ca rotate-issuing";
    let shown = shell
        .run(&format!("script -qec '{rotate}' /dev/null"))
        .await?;
    let told = shown.matches("activated ").count();
    ensure!(told == 1, "{told} times: {shown}");
    let scripted = shell.run(&format!("{rotate} 2> steps.log")).await?;
    ensure!(scripted.starts_with("activated "), "{scripted}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_of_a_sidecar_is_no_control_plane() -> Result<()> {
    const ASKED: &str = "```console\n\
        $ countersign status --admin-socket sidecar.sock --json  # fails\n\
        …\"code\":\"not_a_control_plane\"…a sidecar's sockets are another thing…\n```\n";
    let mut shell = begun().await?;
    shell.follow(&Page::parse("a wrong socket", ASKED)?).await
}
