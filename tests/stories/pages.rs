//! What the pages of the documentation say, done as they say it.

use anyhow::{Context, Result, ensure};
use countersign_tests::{Page, Shell, binaries};

/// Where the mesh of every page of integrations is set up.
const INDEX: (&str, &str) = ("docs/integrations/README.md", "A mesh to try them with");

/// A machine on which the common beginning was done.
pub(crate) async fn begun() -> Result<Shell> {
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
async fn envoy_page_runs_as_written() -> Result<()> {
    runs_as_written("docs/integrations/envoy.md").await
}

/// A page that follows the common beginning, from its first line to its last.
async fn runs_as_written(page: &str) -> Result<()> {
    begun().await?.follow(&Page::read(page)?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn second_sidecar_runs_as_written() -> Result<()> {
    runs_as_written("docs/integrations/several-sidecars.md").await
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_rotate_as_written() -> Result<()> {
    runs_as_written("docs/integrations/logs.md").await
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrade_and_return_go_as_written() -> Result<()> {
    runs_as_written("docs/integrations/upgrade.md").await
}

/// A program in one language fetches its SVID, calls with it, follows a renewal and calls again.
async fn client_runs_as_written(section: &str) -> Result<()> {
    const PAGE: &str = "docs/integrations/workload-api.md";
    let mut shell = begun().await?;
    shell
        .follow(&Page::section(PAGE, "A service to call")?)
        .await?;
    shell.follow(&Page::section(PAGE, section)?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn client_in_python_runs_as_written() -> Result<()> {
    client_runs_as_written("Python").await
}

#[tokio::test(flavor = "multi_thread")]
async fn client_in_rust_runs_as_written() -> Result<()> {
    client_runs_as_written("Rust").await
}

#[tokio::test(flavor = "multi_thread")]
async fn client_in_go_runs_as_written() -> Result<()> {
    client_runs_as_written("Go").await
}

#[tokio::test(flavor = "multi_thread")]
async fn client_in_java_runs_as_written() -> Result<()> {
    client_runs_as_written("Java").await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_kept_as_written() -> Result<()> {
    client_runs_as_written("Files for what reads files").await
}

/// With the sidecar they begin and end: what they have not is not served, and what they have is.
#[tokio::test(flavor = "multi_thread")]
async fn shipped_bootstraps_start_as_they_are() -> Result<()> {
    let mut shell = Shell::start()?;
    shell
        .run("mkdir -p www /run/countersign/sidecar; echo hello > www/index.html")
        .await?;
    let deploy = binaries::project().join("deploy/envoy");
    for name in ["inbound", "outbound"] {
        let start = format!(
            "envoy --use-dynamic-base-id -c {}/{name}.yaml > {name}.log 2>&1 &",
            deploy.display()
        );
        shell.run(&start).await?;
    }
    let serve = "python3 -m http.server 8080 --bind 127.0.0.1 --directory www 2> web.log &";
    shell.run(serve).await?;
    let before = "```console\n\
        $ curl -sS http://127.0.0.1:9901/ready\nINITIALIZING\n\
        $ curl -sS http://127.0.0.1:9902/ready\nPRE_INITIALIZING\n\
        $ curl -sS -o /dev/null -w '%{http_code}\\n' -X POST http://127.0.0.1:9901/quitquitquit\n403\n```\n\
        ```console\n\
        $ curl -sS http://127.0.0.1:15006/  # fails\ncurl: (7) …\n\
        $ curl -sS -k https://127.0.0.1:15006/  # fails\ncurl: (7) …\n\
        $ curl -sS http://127.0.0.1:15001/  # fails\ncurl: (7) …\n```\n";
    let before = before.replacen("```console", "<!-- run: until -->\n```console", 1);
    shell
        .follow(&Page::parse("without a sidecar", &before)?)
        .await?;
    shell.follow(&Page::section(INDEX.0, INDEX.1)?).await?;
    shell
        .run("ln -s $PWD/sidecar.sock /run/countersign/sidecar/sidecar.sock")
        .await?;
    let request = "<!-- run: until -->\n```console\n$ curl -sS http://127.0.0.1:15001/\nhello\n```\n\
        ```console\n$ curl -sS -k https://127.0.0.1:15006/  # fails: no certificate\n\
        $ curl -sS http://127.0.0.1:15006/  # fails: no TLS\n```\n";
    let request = Page::parse("a request", request)?;
    shell.follow(&request).await?;
    shell
        .run("kill %?sidecar.toml; wait %?sidecar.toml; ! test -e sidecar.sock")
        .await?;
    shell.follow(&request).await
}

/// Whatever the caller writes there, in whichever spelling a service may read it; nor does what it writes
/// make it one of ours, whose word Envoy takes for the time that a request may last.
#[tokio::test(flavor = "multi_thread")]
async fn service_is_told_who_calls() -> Result<()> {
    // Answers with the headers of the request, as a WSGI service would see them.
    const SERVICE: &str = "cat > service.py <<'EOF'\n\
        from wsgiref.simple_server import make_server\n\
        import time\n\
        def app(environ, start):\n    \
            time.sleep(0.2)\n    \
            start('200 OK', [])\n    \
            return [environ.get('HTTP_X_FORWARDED_CLIENT_CERT', 'nobody').encode()]\n\
        make_server('127.0.0.1', 8080, app).serve_forever()\n\
        EOF\n\
        python3 service.py 2> service.log &";
    // A caller who speaks to the inbound end itself, not through an Envoy that minds its manners.
    const FILES: &str = "SPIFFE_ENDPOINT_SOCKET=unix://$PWD/sidecar.sock \
        python3 $EXAMPLES/python/files.py spiffe://example.org/client svid 2> files.log &";
    const PAGE: &str = "docs/integrations/envoy.md";
    let mut shell = begun().await?;
    shell.run(SERVICE).await?;
    // Of the page all but its web server.
    let page = std::fs::read_to_string(binaries::project().join(PAGE))?;
    let lines = page.lines().filter(|line| !line.contains("http.server"));
    let page = lines.map(|line| format!("{line}\n")).collect::<String>();
    let (begin, _) = page.split_once("A moment later").context("the page")?;
    shell.follow(&Page::parse(PAGE, begin)?).await?;
    shell.run(FILES).await?;
    let told = "<!-- run: until -->\n```console\n\
        $ curl -sS -k --cert svid/current/svid.pem --key svid/current/key.pem \\\n\
        -H 'x-forwarded-client-cert: URI=spiffe://example.org/admin' \\\n\
        -H 'x_forwarded_client_cert: URI=spiffe://example.org/admin' \\\n\
        -H 'x-forwarded-for: 10.0.0.1' -H 'x-envoy-upstream-rq-timeout-ms: 1' \\\n\
        https://127.0.0.1:15006/ > told.log && cat told.log\n\
        By=spiffe://example.org/web;Hash=…;URI=spiffe://example.org/client\n```\n";
    shell.follow(&Page::parse("a request", told)?).await?;
    let answer = shell.run("cat told.log").await?;
    ensure!(!answer.contains("admin"), "{answer}");
    Ok(())
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
