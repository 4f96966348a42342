//! `lakegate sql`: a small shell over REST.

use std::process::Stdio;

use lakegate_e2e::{Gateway, Result, gateway};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

async fn shell(gateway: &Gateway, arguments: &[&str], input: &str) -> Result<(Option<i32>, String, String)> {
    let mut child = Command::new(gateway::binary()?)
        .arg("sql")
        .args(["--url", gateway.base()])
        .args(arguments)
        .env_clear()
        .env("HOME", gateway.options().folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    child.stdin.take().ok_or("no stdin")?.write_all(input.as_bytes()).await?;
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), child.wait_with_output()).await??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}

/// What the shell says when it does not reach a gateway.
async fn unreached(url: &str) -> Result<String> {
    let mut command = Command::new(gateway::binary()?);
    command.args(["sql", "--url", url, "SELECT 1"]).env_clear().env("HOME", std::env::temp_dir()).kill_on_drop(true);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), command.output()).await??;
    assert_eq!(ended.status.code(), Some(1), "{url}");
    Ok(String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[tokio::test]
async fn why_a_gateway_is_not_reached_is_told_as_it_is() -> Result {
    let gateway = Gateway::start().await?;
    let address = gateway.base().trim_start_matches("http://").to_owned();
    let err = unreached(&format!("https://{address}")).await?;
    assert!(err.contains("speaks no TLS") && !err.contains("is it running"), "{err}");
    gateway.kill().await?;
    let err = unreached(&address).await?;
    assert!(err.contains("is it running"), "{err}");
    Ok(())
}

#[tokio::test]
async fn a_statement_is_read_from_a_pipe() -> Result {
    let gateway = Gateway::demo().await?;
    let input = "SELECT count(*) AS quakes\nFROM demo.earthquakes;\n";
    let (code, out, err) = shell(&gateway, &[], input).await?;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("quakes") && out.contains("1707"), "{out}");
    Ok(())
}

#[tokio::test]
async fn a_statement_can_be_an_argument() -> Result {
    let gateway = Gateway::demo().await?;
    let (code, out, err) = shell(&gateway, &["SELECT count(*) AS n FROM demo.flights"], "").await?;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("20000"), "{out}");
    Ok(())
}

#[tokio::test]
async fn an_error_is_told_and_is_the_exit_code() -> Result {
    let gateway = Gateway::demo().await?;
    let (code, _, err) = shell(&gateway, &["SELECT magnitude FROM demo.earthquakes"], "").await?;
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("magnitude"), "{err}");
    Ok(())
}
