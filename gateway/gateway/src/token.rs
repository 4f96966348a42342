//! `lakegate token`: API tokens of a running gateway.

use lakegate_config::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{Cli, Target, TokenArgs, TokenCommand};
use crate::client::Client;
use crate::data_folder::owner_token;
use crate::failure::{Failure, Result, say};
use crate::{serve, settings};

/// `lakegate token …`.
pub(crate) fn command(cli: &Cli, args: &TokenArgs) -> Result<()> {
    let settings = settings::load(cli)?;
    serve::runtime(0)?.block_on(async {
        match &args.command {
            TokenCommand::Create { target, principal, create_principal, name, expires_in } => {
                let client = client(&settings, target)?;
                if let (Some(principal), true) = (principal, create_principal) {
                    ensure_principal(&client, principal).await?;
                }
                let body = json!({"principal": principal, "name": name, "expires_in": expires_in});
                let created = client.json(client.request(Method::POST, "/v1/tokens").json(&body)).await?;
                say(text(&created["token"]));
            }
            TokenCommand::List { target, principal } => {
                let client = client(&settings, target)?;
                let query: Vec<_> = principal.iter().map(|name| ("principal", name)).collect();
                let found = client.json(client.request(Method::GET, "/v1/tokens").query(&query)).await?;
                for token in found["items"].as_array().into_iter().flatten() {
                    let expires = token["expires_at"].as_str().unwrap_or("never expires");
                    say(format_args!(
                        "{}  {}  {}  {expires}",
                        text(&token["id"]),
                        text(&token["name"]),
                        text(&token["created_at"])
                    ));
                }
            }
            TokenCommand::Revoke { target, id } => {
                let client = client(&settings, target)?;
                client.send(client.request(Method::DELETE, &format!("/v1/tokens/{id}"))).await?;
                say("revoked");
            }
        }
        Ok(())
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn client(settings: &Settings, target: &Target) -> Result<Client> {
    let token = target.token.clone().or_else(|| owner_token(&settings.data_dir)).ok_or_else(|| {
        Failure::usage(format!(
            "no token: give --token, set LAKEGATE_TOKEN, or name the data folder of the gateway with --data-dir ({} has no owner-token)",
            settings.data_dir.display()
        ))
    })?;
    Client::new(&target.url, Some(token))
}

async fn ensure_principal(client: &Client, name: &str) -> Result<()> {
    let request = client.request(Method::POST, "/v1/principals").json(&json!({"name": name}));
    match client.send(request).await {
        Ok(_) => Ok(()),
        Err(problem) if problem.code == "already_exists" => Ok(()),
        Err(problem) => Err(problem.into()),
    }
}
