//! Object stores on this machine: moto for S3, Azurite for Azure Blob Storage.
//!
//! Each test starts its own, on any free port of the loopback; dropping it ends it.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{Gateway, Options, Result, environment};

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

/// Moto wants to see credentials, and does not check them.
const ANYONE: &str =
    "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

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
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]).envs(variables.iter().copied());
        let (child, url) = start(command, "Running on ").await?;
        Ok(Self { _child: child, url })
    }

    /// Where it answers, `http://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new bucket.
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        let http = reqwest::Client::builder().timeout(crate::client::DEADLINE).no_proxy().build()?;
        let bucket = Bucket { endpoint: self.url.clone(), name: name.to_owned(), http };
        bucket.send(Method::PUT, "", "").await?;
        Ok(bucket)
    }
}

/// A bucket, seen past the gateway.
#[derive(Clone, Debug)]
pub struct Bucket {
    endpoint: String,
    name: String,
    http: reqwest::Client,
}

impl Bucket {
    /// A gateway whose root is `lake/` in this bucket.
    pub fn options(&self) -> Result<Options> {
        Ok(self.through(&self.endpoint, Options::serve()?))
    }

    /// The same, spoken to at another endpoint.
    pub fn through(&self, endpoint: &str, options: Options) -> Options {
        options
            .setting("storage.root", &format!("s3://{}/lake", self.name))
            .setting("storage.s3.endpoint", endpoint)
            .setting("storage.allow_http", "true")
            .variable("AWS_ACCESS_KEY_ID", "AKIATEST")
            .variable("AWS_SECRET_ACCESS_KEY", "not-so-secret")
    }

    /// Starts two gateways on this bucket that share a catalog, both spoken to at `endpoint`.
    pub async fn two_gateways(&self, endpoint: &str, options: [Options; 2]) -> Result<[Gateway; 2]> {
        let [first, second] = options.map(|options| self.through(endpoint, options));
        let database = format!("sqlite:{}", first.folder().join("shared.db").display());
        let first = first.setting("catalog.database_url", &database).start().await?;
        // The second finds an instance that has its owner.
        std::fs::create_dir_all(second.data_dir())?;
        std::fs::copy(first.options().data_dir().join("owner-token"), second.data_dir().join("owner-token"))?;
        let second = second.setting("catalog.database_url", &database).start().await?;
        Ok([first, second])
    }

    /// What other clients need to read it, as JSON for `deltalake`.
    pub fn storage_options(&self) -> String {
        serde_json::json!({
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "not-so-secret",
        })
        .to_string()
    }

    /// The URL of a dataset's table.
    pub fn table(&self, id: &str) -> String {
        format!("s3://{}/lake/{id}", self.name)
    }

    /// The names of all objects under a prefix.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().cloned().unwrap_or_default();
            let page = self.send(Method::GET, "", &format!("?list-type=2&prefix={prefix}&start-after={after}")).await?;
            let page = String::from_utf8(page.to_vec())?;
            keys.extend(texts(&page, "Key"));
            if texts(&page, "IsTruncated").first().is_none_or(|more| more != "true") {
                return Ok(keys);
            }
        }
    }

    /// An object's bytes.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        self.send(Method::GET, &format!("/{key}"), "").await
    }

    /// Writes an object.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result {
        let url = format!("{}/{}/{key}", self.endpoint, self.name);
        let request = self.http.put(url).header("authorization", ANYONE).body(bytes);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// The uploads that are neither completed nor aborted.
    pub async fn uploads(&self) -> Result<Vec<String>> {
        let page = self.send(Method::GET, "", "?uploads=").await?;
        Ok(texts(&String::from_utf8(page.to_vec())?, "UploadId"))
    }

    async fn send(&self, method: Method, path: &str, query: &str) -> Result<Bytes> {
        let url = format!("{}/{}{path}{query}", self.endpoint, self.name);
        let request = self.http.request(method, url).header("authorization", ANYONE);
        Ok(request.send().await?.error_for_status()?.bytes().await?)
    }
}

/// What stands between each opening and closing tag.
fn texts(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}

/// An emulated Azure Blob Storage.
#[derive(Debug)]
pub struct Azurite {
    _child: Child,
    endpoint: String,
}

impl Azurite {
    /// The account that it has, and its published key.
    const ACCOUNT: &str = "devstoreaccount1";
    const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// Starts one that keeps everything in memory.
    pub async fn start() -> Result<Self> {
        let program = environment("LAKEGATE_AZURITE", "the program azurite-blob that scripts/setup.sh installs")?;
        let mut command = Command::new(program);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck"]);
        command.arg("--disableTelemetry");
        let (child, url) = start(command, "successfully listens on ").await?;
        Ok(Self { _child: child, endpoint: format!("{url}/{}", Self::ACCOUNT) })
    }

    /// A gateway whose root is `lake/` in a new container.
    pub async fn options(&self, container: &str) -> Result<Options> {
        python(CREATE_CONTAINER, &[&self.endpoint, Self::ACCOUNT, Self::KEY, container]).await?;
        Ok(Options::serve()?
            .setting("storage.root", &format!("az://{container}/lake"))
            .setting("storage.azure.endpoint", &self.endpoint)
            .setting("storage.azure.account", Self::ACCOUNT)
            .setting("storage.allow_http", "true")
            .variable("AZURE_STORAGE_ACCOUNT_KEY", Self::KEY))
    }

    /// What other clients need to read it, as JSON for `deltalake`.
    pub fn storage_options(&self) -> String {
        serde_json::json!({
            "azure_storage_account_name": Self::ACCOUNT, "azure_storage_account_key": Self::KEY,
            "azure_storage_endpoint": self.endpoint, "azure_allow_http": "true", "allow_http": "true",
        })
        .to_string()
    }
}

/// Signs the one request that a client of the account makes before the gateway is there.
const CREATE_CONTAINER: &str = r#"
import base64, email.utils, hashlib, hmac, sys, urllib.request
endpoint, account, key, container = sys.argv[1:]
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
lines = ["PUT"] + [""] * 11 + [f"{name}:{headers[name]}" for name in sorted(headers)]
text = "\n".join(lines + [f"/{account}/{account}/{container}", "restype:container"])
signature = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(signature).decode()}"
url = f"{endpoint}/{container}?restype=container"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.open(urllib.request.Request(url, headers=headers, method="PUT"), timeout=60)
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
