//! A PostgreSQL of a test's own, which it may kill and start again.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::{Result, environment, process};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(90);

/// A server on a socket in a folder of its own; it ends, and the folder goes, when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    /// The script that started it, and stops it when its input ends.
    _script: Child,
    _input: ChildStdin,
    url: String,
    data: PathBuf,
    log: String,
}

impl Postgres {
    /// Starts one that syncs nothing, as a crash of the machine is not what tests are about.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one that syncs what it commits, as those that are measured do.
    pub async fn durable() -> Result<Self> {
        Self::start_with(&["--durable"]).await
    }

    async fn start_with(words: &[&str]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/with-postgres.sh");
        let mut child = Command::new("sh")
            .arg(script)
            .args(words)
            .args(["sh", "-c", "echo \"$LAKEGATE_TEST_POSTGRES\"; cat"])
            .env_clear()
            .env("PATH", environment("PATH", "set it")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take().ok_or("a pipe")?, child.stdout.take().ok_or("a pipe")?);
        let mut lines = BufReader::new(output).lines();
        let url = timeout(START, lines.next_line()).await??.ok_or("PostgreSQL did not start")?;
        let folder = url.rsplit("host=").next().ok_or("a folder")?.to_owned();
        let (data, log) = (Path::new(&folder).join("data"), format!("{folder}/server.log"));
        Ok(Self { _script: child, _input: input, url, data, log })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn pid(&self) -> Result<u32> {
        let file = std::fs::read_to_string(self.data.join("postmaster.pid"))?;
        Ok(file.lines().next().unwrap_or_default().trim().parse()?)
    }

    /// Kills its first process, and with it all others, and starts it again, with what it had committed.
    pub async fn crash(&self) -> Result {
        let pid = self.pid()?;
        let program = std::fs::read_link(format!("/proc/{pid}/exe"))?;
        process::signal(pid, "KILL")?;
        // They name a process that a machine without a good `init` never sees end.
        for lock in ["postmaster.pid", "../.s.PGSQL.5432.lock"] {
            std::fs::remove_file(self.data.join(lock))?;
        }
        let control = program.with_file_name("pg_ctl").display().to_string();
        let data = self.data.display().to_string();
        let root = std::fs::metadata("/proc/self")?.uid() == 0;
        let mut words = if root { vec!["runuser", "-u", "postgres", "--"] } else { Vec::new() };
        // With the options that it had.
        words.extend([control.as_str(), "-D", &data, "-l", &self.log, "-w", "-t", "60", "restart"]);
        let (program, arguments) = words.split_first().ok_or("a program")?;
        let begun = Instant::now();
        // Its memory is in use until the last of its processes has noticed.
        while begun.elapsed() < START {
            let mut command = Command::new(program);
            command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if timeout(START, command.status()).await??.success() {
                return Ok(());
            }
        }
        let log = std::fs::read_to_string(&self.log)?;
        Err(format!("PostgreSQL does not start again: {log}").into())
    }
}
