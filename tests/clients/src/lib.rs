//! Runs programs of others against the real binary: the Python clients of `python/`, and the examples of a document.
//!
//! Two environments, because the clients of one cannot be installed with those of the other: [`Environment::Adbc`] has the
//! ADBC drivers and what builds on them, [`Environment::Sqlalchemy`] the older DB-API with its dialect.

use std::path::{Path, PathBuf};

use lakegate_e2e::{Client, Gateway, Result, environment};
use tokio::process::Command;

/// Which interpreter a program needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// `tests/requirements.txt`.
    Adbc,
    /// `tests/clients/requirements-sqlalchemy.txt`.
    Sqlalchemy,
}

impl Environment {
    fn python(self) -> Result<PathBuf> {
        let (name, how) = match self {
            Self::Adbc => ("LAKEGATE_PYTHON", "an interpreter with tests/requirements.txt installed"),
            Self::Sqlalchemy => (
                "LAKEGATE_PYTHON_SQLALCHEMY",
                "an interpreter with tests/clients/requirements-sqlalchemy.txt installed",
            ),
        };
        Ok(environment(name, how)?.into())
    }

    /// The interpreter, with nothing of the environment that the tests run in.
    pub fn command(self, folder: &Path) -> Result<Command> {
        let mut command = Command::new(self.python()?);
        command
            .env_clear()
            .env("PATH", environment("PATH", "set it")?)
            .env("HOME", folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(folder)
            .kill_on_drop(true);
        Ok(command)
    }
}

/// The programs.
pub fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// A service account that may read the demo and nothing else; its token.
pub async fn reader(owner: &Client) -> Result<String> {
    use serde_json::json;
    owner.post("/v1/principals", &json!({ "name": "reader", "kind": "service" })).await?.expect(201)?;
    let right = json!({ "principal": "reader", "role": "reader", "namespace": "demo" });
    owner.send(reqwest::Method::PUT, "/v1/grants", &right).await?.expect(200)?;
    let token = json!({ "name": "tests", "principal": "reader" });
    let made = owner.post("/v1/tokens", &token).await?.expect(201)?.json()?;
    Ok(made["token"].as_str().ok_or("no token")?.to_owned())
}

/// Runs one file of `python/` by pytest; what it said when a test of it fails.
pub async fn pytest(gateway: &Gateway, environment: Environment, file: &str, more: &[(&str, &str)]) -> Result {
    let folder = gateway.options().folder();
    let output = environment
        .command(folder)?
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "--tb=short"])
        .arg(programs().join(file))
        .env("LAKEGATE_FLIGHT", gateway.flight())
        .env("LAKEGATE_TOKEN", gateway.token())
        .env("LAKEGATE_READER", reader(gateway.client()).await?)
        .envs(more.iter().copied())
        .output()
        .await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Err(format!("{file} failed:\n{said}").into())
}
