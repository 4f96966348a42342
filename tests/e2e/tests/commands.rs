//! The commands of the binary that are not a server.

use lakegate_e2e::gateway::{Options, binary};
use lakegate_e2e::{Gateway, Result};
use serde_json::json;
use tokio::process::Command;

/// Runs the binary with a home folder of its own: exit code, stdout, stderr.
async fn run(
    options: &Options,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<(Option<i32>, String, String)> {
    let mut command = Command::new(binary()?);
    command
        .args(arguments)
        .env_clear()
        .env("HOME", options.folder())
        .envs(environment.iter().copied())
        .kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), command.output()).await??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}

#[tokio::test]
async fn help_names_every_command_and_how_to_begin() -> Result {
    let options = Options::serve()?;
    let (code, out, _) = run(&options, &["--help"], &[]).await?;
    assert_eq!(code, Some(0));
    for word in ["serve", "demo", "config", "token", "sql", "lakegate demo", "LAKEGATE__"] {
        assert!(out.contains(word), "{word} is not in:\n{out}");
    }
    let (code, _, err) = run(&options, &["serv"], &[]).await?;
    assert_eq!(code, Some(2));
    assert!(err.contains("serve"), "{err}");
    Ok(())
}

#[tokio::test]
async fn config_shows_what_is_in_effect_and_hides_secrets() -> Result {
    let options = Options::serve()?;
    let environment = [
        ("LAKEGATE__QUERY__TIMEOUT", "7s"),
        ("LAKEGATE__CATALOG__DATABASE_URL", "postgres://ann:verysecret@db.example/lakegate"),
    ];
    let (code, out, err) = run(&options, &["config", "--set", "query.threads=3"], &environment).await?;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("timeout = \"7s\"") && out.contains("threads = 3"), "{out}");
    assert!(out.contains("db.example") && !out.contains("verysecret"), "{out}");
    Ok(())
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() -> Result {
    let gateway = Gateway::start().await?;
    let owner = [("LAKEGATE_URL", gateway.base()), ("LAKEGATE_TOKEN", gateway.token())];
    let create = ["token", "create", "--principal", "ada", "--create-principal", "--name", "laptop"];
    let (code, out, err) = run(gateway.options(), &create, &owner).await?;
    assert_eq!(code, Some(0), "{err}");
    let token = out.trim().to_owned();
    let ada = gateway.client().with_token(&token);
    assert_eq!(ada.get("/v1/whoami").await?.expect(200)?.json()?["principal"]["name"], json!("ada"));

    let (_, out, _) = run(gateway.options(), &["token", "list", "--principal", "ada"], &owner).await?;
    assert!(out.contains("laptop") && !out.contains(&token), "{out}");
    let id = out.split_whitespace().next().ok_or("nothing is listed")?;
    let (code, _, err) = run(gateway.options(), &["token", "revoke", id], &owner).await?;
    assert_eq!(code, Some(0), "{err}");
    ada.get("/v1/whoami").await?.expect(401)?;
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_said_plainly() -> Result {
    let options = Options::serve()?;
    let (code, _, err) = run(&options, &["sql", "--url", "http://127.0.0.1:9", "SELECT 1"], &[]).await?;
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("127.0.0.1:9"), "{err}");
    Ok(())
}
