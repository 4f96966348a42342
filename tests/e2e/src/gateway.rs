//! One gateway process and its data folder.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{Client, Result, environment, process};

/// How long a start may take; a debug build on a busy machine needs seconds.
const START: Duration = Duration::from_secs(60);

/// How long a polite stop may take.
const STOP: Duration = Duration::from_secs(60);

/// Bytes of the process's output that are kept; the rest is read and dropped.
const KEPT_OUTPUT: usize = 32 << 20;

/// How to start a gateway.
#[derive(Clone, Debug)]
pub struct Options {
    command: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    folder: Arc<TempDir>,
    /// Of its owner, when it is not this gateway that makes the owner.
    token: Option<String>,
}

impl Options {
    /// `lakegate serve` on any free port, in a data folder of its own.
    pub fn serve() -> Result<Self> {
        Ok(Self {
            command: "serve".to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            folder: Arc::new(TempDir::with_prefix("lakegate-e2e-")?),
            token: None,
        })
    }

    /// `lakegate demo` on any free port, in a data folder of its own.
    pub fn demo() -> Result<Self> {
        Ok(Self { command: "demo".to_owned(), ..Self::serve()? })
    }

    /// Another command with the same settings and data folder.
    #[must_use]
    pub fn with_command(mut self, command: &str) -> Self {
        command.clone_into(&mut self.command);
        self
    }

    /// The same with another argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The same with a setting, such as `query.timeout`.
    #[must_use]
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        let name = format!("LAKEGATE__{}", key.to_uppercase().replace('.', "__"));
        self.environment.push((name, value.to_owned()));
        self
    }

    /// The same with a variable of its environment, such as `AWS_ACCESS_KEY_ID`.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same under another program, such as `strace -f`.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The same for a gateway whose instance has an owner, with this token.
    #[must_use]
    pub fn owned(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The folder that holds everything of this gateway; the data folder is inside.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The `data_dir` that the gateway is given.
    pub fn data_dir(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Where the gateway keeps its catalog and tables: inside `data_dir`, one deeper for the demo.
    pub fn kept(&self) -> PathBuf {
        if self.command == "demo" { self.data_dir().join("demo") } else { self.data_dir() }
    }

    /// The command, ready to spawn: no setting, token or proxy of whoever runs the tests reaches it.
    pub fn command(&self) -> Result<Command> {
        let binary = binary()?;
        let words: Vec<&str> = self.wrapper.iter().map(String::as_str).chain([binary.as_str()]).collect();
        let (program, before) = words.split_first().ok_or("no program")?;
        let mut command = Command::new(program);
        command
            .args(before)
            .arg(&self.command)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", environment("PATH", "set it")?)
            .env("HOME", self.folder())
            .env("LAKEGATE__DATA_DIR", self.data_dir())
            .env("LAKEGATE__REST__LISTEN", "127.0.0.1:0")
            .env("LAKEGATE__FLIGHT__LISTEN", "127.0.0.1:0")
            .envs(self.environment.iter().cloned())
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Starts the program and waits until a line of its output says what `read` looks for.
    pub(crate) async fn launch<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<(Child, Output, T)> {
        let mut child = self.command()?.spawn()?;
        let output = Output::default();
        let stderr = child.stderr.take().ok_or("no stderr")?;
        tokio::spawn(keep(stderr, output.clone()));
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                output.add(&line);
                if let Some(found) = read(&line) {
                    return Ok(found);
                }
            }
            Err("it ended before it was listening".into())
        };
        let found: Result<T> =
            timeout(START, listening).await.unwrap_or_else(|_| Err("it was not listening in time".into()));
        let found = found.map_err(|error| format!("{error}; its output:\n{}", output.text()))?;
        tokio::spawn(keep(lines.into_inner(), output.clone()));
        Ok((child, output, found))
    }

    /// Starts the gateway and waits until it answers.
    pub async fn start(self) -> Result<Gateway> {
        let (child, output, (base, flight)) = self.launch(listening).await?;
        let token = match &self.token {
            Some(token) => token.clone(),
            None => std::fs::read_to_string(self.kept().join("owner-token"))?.trim().to_owned(),
        };
        let client = Client::new(&base, Some(token.clone()))?;
        Ok(Gateway { child, base, flight, token, client, output, options: self })
    }
}

/// The addresses of REST and Flight in the line that says where the gateway listens.
fn listening(line: &str) -> Option<(String, String)> {
    let words = line.strip_prefix("listening ")?;
    let of = |name: &str| words.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned);
    Some((of("rest=")?, of("flight=")?))
}

/// The binary under test.
pub fn binary() -> Result<String> {
    environment(
        "LAKEGATE_BIN",
        "these tests run the built binary; build it with `cargo build --bin lakegate` and export LAKEGATE_BIN with its path",
    )
}

/// What a process has written so far.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Mutex<String>>);

impl Output {
    fn add(&self, line: &str) {
        let mut kept = self.0.lock();
        if kept.len() < KEPT_OUTPUT {
            kept.push_str(line);
            kept.push('\n');
        }
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.0.lock().clone()
    }
}

/// Reads lines to the end, so that the process never waits for a reader.
async fn keep(stream: impl AsyncRead + Unpin, output: Output) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        output.add(&line);
    }
}

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    base: String,
    flight: String,
    token: String,
    client: Client,
    output: Output,
    options: Options,
}

impl Gateway {
    /// `lakegate serve` in an empty folder.
    pub async fn start() -> Result<Self> {
        Options::serve()?.start().await
    }

    /// `lakegate demo`, with its data loaded.
    pub async fn demo() -> Result<Self> {
        Options::demo()?.start().await
    }

    /// Where REST listens, `http://127.0.0.1:port`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where Flight SQL listens, `grpc://127.0.0.1:port`, or `grpc+tls://…`.
    pub fn flight(&self) -> &str {
        &self.flight
    }

    /// The token of the first owner.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A client that is the instance's owner.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How it was started.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What it has written to stdout and stderr.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// The process id of the gateway itself, also under a wrapper.
    pub fn pid(&self) -> Result<u32> {
        let pid = self.child.id().ok_or("the process has ended")?;
        if self.options.wrapper.is_empty() {
            return Ok(pid);
        }
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(children.split_whitespace().next().ok_or("the wrapper runs nothing")?.parse()?)
    }

    /// An error, with the output, when the process has ended.
    pub fn alive(&mut self) -> Result {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the gateway has ended ({status}); its output:\n{}", self.output()).into()),
        }
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = timeout(STOP, self.child.wait()).await;
        Ok(ended.map_err(|_| format!("it did not end in {STOP:?}; its output:\n{}", self.output()))??)
    }

    /// SIGTERM, and the wait until it has drained.
    pub async fn stop(mut self) -> Result<(Options, ExitStatus)> {
        process::signal(self.pid()?, "TERM")?;
        let status = self.ended().await?;
        Ok((self.options.clone(), status))
    }

    /// SIGKILL: what was not durable is lost.
    pub async fn kill(mut self) -> Result<Options> {
        self.child.start_kill()?;
        self.ended().await?;
        Ok(self.options.clone())
    }
}

impl Drop for Gateway {
    /// Under a wrapper, killing the child would leave the gateway behind.
    fn drop(&mut self) {
        if !self.options.wrapper.is_empty()
            && let Ok(pid) = self.pid()
        {
            let _ = process::signal(pid, "KILL");
        }
    }
}
