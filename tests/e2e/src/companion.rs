//! The companion: `lakegate catalog`, and gateways that share it.

use tokio::process::Child;

use crate::gateway::Output;
use crate::{Options, Result, process};

/// A running companion. Dropping it kills it.
#[derive(Debug)]
pub struct Companion {
    child: Child,
    url: String,
    output: Output,
    options: Options,
}

impl Companion {
    /// On SQLite, in a folder of its own.
    pub async fn start() -> Result<Self> {
        Self::with(Options::serve()?).await
    }

    /// With these settings.
    pub async fn with(options: Options) -> Result<Self> {
        let options = options.with_command("catalog");
        let with_port = options.clone().setting("catalog.listen", "127.0.0.1:0");
        Self::begin(options, &with_port).await
    }

    async fn begin(options: Options, with_port: &Options) -> Result<Self> {
        let read = |line: &str| line.strip_prefix("listening catalog=").map(|url| url.trim().to_owned());
        let (child, output, url) = with_port.launch(read).await?;
        Ok(Self { child, url, output, options })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its data folder.
    pub fn folder(&self) -> std::path::PathBuf {
        self.options.data_dir()
    }

    /// What it has written.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// A gateway that keeps its catalog there, and its tables in the companion's folder, so that several share them.
    pub fn gateway(&self) -> Result<Options> {
        let root = self.options.folder().join("tables");
        Ok(Options::serve()?
            .setting("catalog.url", &self.url)
            .setting("catalog.token_file", &self.options.data_dir().join("gateway-token").display().to_string())
            .setting("storage.root", &format!("file://{}", root.display())))
    }

    /// SIGKILL, and what it takes to start it again.
    pub async fn kill(mut self) -> Result<Stopped> {
        self.child.start_kill()?;
        self.child.wait().await?;
        Ok(Stopped { options: self.options.clone(), url: self.url.clone() })
    }

    /// SIGTERM; whether it ended well.
    pub async fn stop(mut self) -> Result<bool> {
        process::signal(self.child.id().ok_or("it has ended")?, "TERM")?;
        Ok(self.child.wait().await?.success())
    }
}

/// A companion that was killed.
#[derive(Debug)]
pub struct Stopped {
    options: Options,
    url: String,
}

impl Stopped {
    /// The same again, on the same port.
    pub async fn start(self) -> Result<Companion> {
        let address = self.url.rsplit('/').next().unwrap_or_default().to_owned();
        let with_port = self.options.clone().setting("catalog.listen", &address);
        Companion::begin(self.options, &with_port).await
    }
}
