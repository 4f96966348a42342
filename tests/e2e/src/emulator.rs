//! Object stores on this machine: moto for S3, Azurite for Azure Blob Storage.
//!
//! Each test starts its own, on any free port of the loopback; dropping it ends it.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{Bucket, Result, environment};

/// How long a start may take; an interpreter on a busy machine needs seconds.
const START: Duration = Duration::from_secs(60);

const PYTHON: &str = "an interpreter with tests/requirements.txt installed";

/// Runs a Python program with the clients of `tests/requirements.txt`; answers what it printed.
pub async fn python(script: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(environment("LAKEGATE_PYTHON", PYTHON)?);
    // Threads of its libraries may crash an interpreter that ends in order.
    let script = format!("{script}\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n");
    command.arg("-c").arg(script).args(arguments).kill_on_drop(true);
    let output = timeout(Duration::from_secs(240), command.output()).await??;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// An emulated S3.
#[derive(Debug)]
pub struct Moto {
    _child: Child,
    url: String,
}

impl Moto {
    /// Starts one that takes any credentials.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one that refuses all credentials after so many requests.
    pub async fn refusing_after(requests: u32) -> Result<Self> {
        Self::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", &requests.to_string())]).await
    }

    async fn start_with(variables: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(environment("LAKEGATE_PYTHON", PYTHON)?);
        command.args(["-c", include_str!("moto.py"), "-H", "127.0.0.1", "-p", "0"]).envs(variables.iter().copied());
        let (child, url) = start(command, "Running on ").await?;
        Ok(Self { _child: child, url })
    }

    /// Where it answers, `http://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new bucket.
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        let bucket = Bucket::s3(&self.url, name)?;
        bucket.create().await?;
        Ok(bucket)
    }
}

/// An emulated Azure Blob Storage.
#[derive(Debug)]
pub struct Azurite {
    _child: Child,
    url: String,
}

impl Azurite {
    /// The account that it has, and its published key.
    pub(crate) const ACCOUNT: &str = "devstoreaccount1";
    pub(crate) const KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// Starts one that keeps everything in memory.
    pub async fn start() -> Result<Self> {
        let program = environment("LAKEGATE_AZURITE", "the program azurite-blob that scripts/setup.sh installs")?;
        let mut command = Command::new(program);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck"]);
        command.arg("--disableTelemetry");
        let (child, url) = start(command, "successfully listens on ").await?;
        Ok(Self { _child: child, url })
    }

    /// Where it answers, `http://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new container.
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        let endpoint = format!("{}/{}", self.url, Self::ACCOUNT);
        let signature = python(CREATE_CONTAINER, &[&endpoint, Self::ACCOUNT, Self::KEY, name]).await?;
        Bucket::azure(&self.url, name, signature)
    }
}

/// Signs the one request that a client of the account makes before the gateway is there; prints what lets anyone who has it
/// use the account.
const CREATE_CONTAINER: &str = r#"
import base64, email.utils, hashlib, hmac, sys, urllib.parse, urllib.request
endpoint, account, key, container = sys.argv[1:]
def signed(text):
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
lines = ["PUT"] + [""] * 11 + [f"{name}:{headers[name]}" for name in sorted(headers)]
text = "\n".join(lines + [f"/{account}/{account}/{container}", "restype:container"])
headers["Authorization"] = f"SharedKey {account}:{signed(text)}"
url = f"{endpoint}/{container}?restype=container"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.open(urllib.request.Request(url, headers=headers, method="PUT"), timeout=60)
sas = {"sp": "rwdlac", "ss": "b", "srt": "sco", "st": "", "se": "2099-01-01T00:00:00Z", "sip": "", "spr": "https,http",
       "sv": "2019-12-12"}
sas["sig"] = signed("\n".join([account, *sas.values(), ""]))
print(urllib.parse.urlencode({name: value for name, value in sas.items() if value}))
"#;

/// Starts a server that says where it listens, on either stream.
async fn start(mut command: Command, says: &str) -> Result<(Child, String)> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let mut child = spawned.map_err(|error| format!("{command:?}: {error}"))?;
    let (sender, mut urls) = tokio::sync::mpsc::channel(2);
    tokio::spawn(watch(child.stdout.take().ok_or("no stdout")?, says.to_owned(), sender.clone()));
    tokio::spawn(watch(child.stderr.take().ok_or("no stderr")?, says.to_owned(), sender));
    match timeout(START, urls.recv()).await? {
        Some(Ok(url)) => Ok((child, url)),
        Some(Err(said)) => Err(format!("{command:?} ended; it said:\n{said}").into()),
        None => Err(format!("{command:?} ended").into()),
    }
}

/// Reads to the end, so that the server never waits for a reader; sends the address that follows `says`, or what
/// was said instead.
async fn watch(stream: impl AsyncRead + Unpin, says: String, found: tokio::sync::mpsc::Sender<Result<String, String>>) {
    let mut lines = BufReader::new(stream).lines();
    let mut said = String::new();
    let mut waiting = true;
    while let Ok(Some(line)) = lines.next_line().await {
        if let (true, Some((_, url))) = (waiting, line.split_once(&says)) {
            waiting = false;
            let _ = found.send(Ok(url.trim().to_owned())).await;
        } else if waiting && said.len() < 16_384 {
            said.push_str(&line);
            said.push('\n');
        }
    }
    if waiting && !said.is_empty() {
        let _ = found.send(Err(said)).await;
    }
}
